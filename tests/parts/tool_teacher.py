"""A teacher behind HTTP whose model may use a calculator. What the tool says stays inside: the run sees one answer."""

import ast
import json
import math
import operator

import httpx
from attrs import asdict, frozen

from rt_framework import Reply, TeacherError, Usage, hookimpl
from rt_framework.kit.places import origin

SIGNS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
EXPRESSION = {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]}
TOOL = {"name": "calculate", "description": "Value of an arithmetic expression.", "parameters": EXPRESSION}
TOOL_TOKENS = 200
"""Most tokens of the tool's description, and of one of its results."""
KINDS = {400: "bad_request", 401: "auth", 403: "auth", 404: "model_missing", 429: "rate_limited"}


@frozen
class ToolSettings:
    api_base: str
    """Address of an OpenAI-compatible server, up to ``/v1``."""
    model: str
    rounds: int = 4
    """Most requests for one answer; the last one is sent without the tool."""
    input_price: float = 0.0
    """Dollars per million tokens."""
    output_price: float = 0.0


class ToolTeacher:
    structured = False

    def __init__(self, settings):
        self._settings = settings
        self._client = httpx.AsyncClient(timeout=None)

    @property
    def identity(self):
        return f"calculating:{self._settings.model}:{self._settings.rounds}"

    @property
    def place(self):
        return origin(self._settings.api_base)

    def cost(self, prompt_tokens, completion_tokens):
        """Most that all rounds can cost: each sends again what was said in the rounds before it."""
        rounds = self._settings.rounds
        first, more = prompt_tokens + TOOL_TOKENS, completion_tokens + TOOL_TOKENS
        return self._price(sum(first + number * more for number in range(rounds)), rounds * completion_tokens)

    async def complete(self, request):
        messages, asked, told = [asdict(turn) for turn in request.messages], 0, 0
        for number in range(self._settings.rounds):
            tools = number < self._settings.rounds - 1
            raw = await self._post(messages, request.sampling, tools, billed="maybe" if number else None)
            try:
                answer = json.loads(raw)
                choice, message = answer["choices"][0], answer["choices"][0]["message"]
                asked += answer["usage"]["prompt_tokens"]
                told += answer["usage"]["completion_tokens"]
                calls = message.get("tool_calls") if tools else None
                results = [_result(call) for call in calls or ()]
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                raise TeacherError("paid_unreadable", f"no answer of that form: {error!r}", raw=raw) from error
            if not results:
                break
            messages += [message, *results]
        text, cost = message["content"] or "", self._price(asked, told)
        return Reply(text, choice["finish_reason"], Usage(asked, told), answer["model"], cost)

    async def aclose(self):
        await self._client.aclose()

    async def _post(self, messages, sampling, tools, billed):
        body = {"model": self._settings.model, "messages": messages, **asdict(sampling)}
        if tools:
            body["tools"] = [{"type": "function", "function": TOOL}]
        try:
            got = await self._client.post(f"{self._settings.api_base}/chat/completions", json=body)
        except httpx.HTTPError as error:
            raise TeacherError("connection", type(error).__name__) from error
        if got.status_code != 200:
            kind = KINDS.get(got.status_code, "overloaded" if got.status_code >= 400 else "redirected")
            raise TeacherError(kind, f"status {got.status_code}: {got.text[:200]}", billed=billed)
        return got.content

    def _price(self, asked, told):
        return math.ceil(1000 * (asked * self._settings.input_price + told * self._settings.output_price))


def _result(call):
    try:
        value = str(_value(ast.parse(json.loads(call["function"]["arguments"])["expression"], mode="eval").body))
    except (ValueError, LookupError, TypeError, SyntaxError, ArithmeticError) as error:
        value = f"no value: {type(error).__name__}"
    return {"role": "tool", "tool_call_id": call["id"], "content": value}


def _value(node):
    if isinstance(node, ast.BinOp):
        return SIGNS[type(node.op)](_value(node.left), _value(node.right))
    return float(ast.literal_eval(node))


@hookimpl
def rt_register_teachers(register):
    register("calculating", "tool_teacher:ToolTeacher", help="a model with a calculator", settings=ToolSettings)
