"""A teacher behind an API: any provider that litellm supports, with one HTTP request per attempt."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import warnings
from collections.abc import Mapping
from fractions import Fraction
from functools import cache, cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

from attrs import evolve

from rt_framework.builtin.teachers.places import place, provider_of
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.builtin.teachers.usage import counted, stated_quotas, told_in
from rt_framework.errors import TeacherError
from rt_framework.kit.addresses import check_address
from rt_framework.kit.messages import message_of
from rt_framework.model import Pending, Quotas, Reply, Request, Turn

if TYPE_CHECKING:
    from rt_framework.builtin.teachers.channel import Channel
    from rt_framework.builtin.teachers.litellm_batches import OpenAIBatches
    from rt_framework.builtin.teachers.transport import Exchange

_UNBOUNDED = 86_400.0
"""Timeout in seconds, too long to take effect: the run limits each attempt itself, before litellm would."""


_BATCHED = Fraction(1, 2)
"""Price of a batch, as a share of the price of the same requests sent one by one."""


class LiteLLMTeacher:
    """Teacher that asks a provider through litellm, which is imported at the first use.

    Raises:
        ConfigError: the environment sends this provider's requests over plain http.
    """

    def __init__(self, settings: LiteLLMSettings) -> None:
        self._settings = settings
        self._channel: Channel | None = None
        self._quotas = Quotas()
        provider = provider_of(settings.model)
        for suffix in ("_API_BASE", "_BASE_URL"):
            name = provider.upper() + suffix
            check_address(None if settings.api_base else os.environ.get(name), name)

    @property
    def identity(self) -> str:
        """Model and further parameters. Structured output is left out, since each request's schema shows it."""
        extra = json.dumps(self._settings.extra, sort_keys=True) if self._settings.extra else ""
        return f"litellm:{self._settings.model}{extra}"

    @property
    def place(self) -> str:
        """The provider, or the server that a setting or the environment names in its place."""
        return place(provider_of(self._settings.model), self._settings.api_base, os.environ)

    @cached_property
    def structured(self) -> bool:
        """Return the setting, or else whether litellm's model list says that the model can be held to a JSON schema."""
        litellm = _litellm()  # takes seconds, which must not count as part of the first attempt
        if self._settings.structured is not None:
            return self._settings.structured
        try:
            return bool(litellm.supports_response_schema(self._settings.model))
        except Exception:
            return False

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """Return the cost in nano-dollars, rounded up; ``None`` for a model without a price.

        Discounts for cached prompts are left out.
        """
        return self._price(prompt_tokens, completion_tokens, self._settings.batch)

    def _price(self, prompt_tokens: int, completion_tokens: int, batched: bool) -> int | None:
        share = _BATCHED if batched else Fraction(1)
        if self._flat is not None:
            return math.ceil((self._flat[0] * prompt_tokens + self._flat[1] * completion_tokens) * share)
        listed = self._listed(prompt_tokens, completion_tokens)
        # The float's own error, some 1e-16 of the sum, must not be rounded up to a further nano-dollar.
        return None if listed is None else math.ceil(round(listed * float(share), 3))

    @cached_property
    def _flat(self) -> tuple[Fraction, Fraction] | None:
        """Nano-dollars per prompt token and per answer token; ``None`` where they depend on the number of tokens.

        The prices are kept, because litellm takes as long to look one up as SQLite for a commit.
        """
        input_price, output_price = self._settings.input_price, self._settings.output_price
        if input_price is not None and output_price is not None:
            # In dollars per 10⁶ tokens; a dollar is 10⁹ nano-dollars.
            return Fraction(str(input_price)) * 1000, Fraction(str(output_price)) * 1000
        prices = []
        for prompt, completion in ((1, 0), (0, 1)):
            few, many = self._listed(1000 * prompt, 1000 * completion), self._listed(10**7 * prompt, 10**7 * completion)
            if few is None or many is None or not math.isclose(few / 1000, many / 10**7, rel_tol=1e-9):
                return None
            prices.append(Fraction(str(round(many / 10**7, 6))))
        return prices[0], prices[1]

    def _listed(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Return the cost in nano-dollars by litellm's price list; ``None`` where the model is not in it."""
        try:
            dollars: float = sum(_litellm().cost_per_token(self._settings.model, prompt_tokens, completion_tokens))
        except Exception:
            return None
        return dollars * 1e9

    async def complete(self, request: Request) -> Reply:
        """Send one HTTP request and return the answer that was paid for, usable or not.

        Raises:
            TeacherError: with the kind of failure.
        """
        return await self._asked(request, self._arguments(request), self._connected(), self._settings.batch)

    async def reread(self, request: Request, raw: bytes) -> Reply:
        """Read the body of an answer that could not be read when it came. Sends nothing.

        Raises:
            TeacherError: it still cannot be read.
        """
        return await self._from_memory(request, 200, raw, self._settings.batch)

    async def _from_memory(self, request: Request, status: int, body: bytes, batched: bool) -> Reply:
        """Read an answer that was received by other means, as if it came over the network."""
        with _channels().memory(status, body) as (channel, _):
            return await self._asked(request, self._nowhere(request), channel, batched)

    async def _asked(self, request: Request, arguments: Mapping[str, Any], channel: Channel, batched: bool) -> Reply:
        """Let litellm send a request through a channel, and read the answer.

        Raises:
            TeacherError: there is no answer, or none that can be read.
        """
        from rt_framework.builtin.teachers.litellm_errors import teacher_error

        with channel.attempt() as exchange:
            try:
                answer = await _litellm().acompletion(**arguments, client=channel.handler)
                return self._reply(request, answer, exchange, batched)
            except Exception as error:
                # The cause is dropped, because a provider's text may quote the key.
                raise teacher_error(error, exchange, self._unread_cost(request, exchange, batched)) from None
            finally:
                self._quotas = stated_quotas(exchange.headers, self._settings.model, self._quotas)

    @property
    def quotas(self) -> Quotas:
        """The quotas that the provider's answers stated last."""
        return self._quotas

    def _unread_cost(self, request: Request, exchange: Exchange, batched: bool) -> int:
        """Return the cost in nano-dollars of an answer that cannot be read, by the token counts in its body."""
        charged = counted(request, None, told_in(exchange.body)).charged
        return self._price(charged.prompt_tokens, charged.completion_tokens, batched) or 0

    # --- the provider's batches -------------------------------------------------------------

    @property
    def batched(self) -> bool:
        """Return whether the settings ask for the provider's batch API."""
        return self._settings.batch

    @property
    def most_requests(self) -> int:
        """Limit of OpenAI for the requests of one batch."""
        return 50_000

    @property
    def most_bytes(self) -> int:
        """Most bytes of the prompts of a batch: less than half of OpenAI's limit for a file.

        Half, because a text in which all characters are escaped has twice the size in JSON.
        """
        return 80_000_000

    async def submit(self, requests: Mapping[str, Request], token: str) -> str:
        """Upload one file of requests, and make one batch of it.

        Raises:
            TeacherError: with the kind of failure.
        """
        return await self._batches.submit({key: await self._body(request) for key, request in requests.items()}, token)

    async def find(self, token: str) -> str | None:
        """Search the account's batches, newest first, and return the id of the one with this token.

        Raises:
            TeacherError: with the kind of failure.
        """
        return await self._batches.find(token)

    async def collect(
        self, batch: str, requests: Mapping[str, Request]
    ) -> Pending | Mapping[str, Reply | TeacherError]:
        """Ask once for the state of a batch; if it has ended, fetch its files.

        Raises:
            TeacherError: with the kind of failure.
        """
        ends = await self._batches.collect(batch, requests)
        if isinstance(ends, Pending):
            return ends
        replies: dict[str, Reply | TeacherError] = {}
        for key, end in ends.items():
            try:
                if isinstance(end, TeacherError):
                    raise end
                replies[key] = await self._from_memory(requests[key], end.status, end.body, batched=True)
            except TeacherError as error:
                replies[key] = error
        return replies

    async def _body(self, request: Request) -> Any:
        """Return the JSON body that the live path would send."""
        with _channels().memory(200, _channels().ANYTHING) as (channel, letter):
            await self._asked(request, self._nowhere(request), channel, batched=True)
        if letter.sent is None:
            raise TeacherError(
                "bad_request",
                "litellm does not use chat completions for this model; remove 'batch' from the teacher's settings",
            )
        return json.loads(letter.sent)

    @cached_property
    def _batches(self) -> OpenAIBatches:
        from rt_framework.builtin.teachers.litellm_batches import OpenAIBatches

        return OpenAIBatches(lambda: self._connected().client, self._settings.api_base)

    # --- one request ------------------------------------------------------------------------

    def _connected(self) -> Channel:
        if self._channel is None:
            self._channel = _channels().Channel()
        return self._channel

    async def aclose(self) -> None:
        """Close this teacher's connections."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    def _nowhere(self, request: Request) -> dict[str, Any]:
        """Return the arguments of a call that cannot reach the provider, whatever way litellm sends it."""
        return {**self._arguments(request), "api_base": "http://127.0.0.1:9"}

    def _arguments(self, request: Request) -> dict[str, Any]:
        settings, sampling = self._settings, request.sampling
        extra = dict(settings.extra) if request.schema is None else {**settings.extra, **_held_to_schema(request)}
        return {
            "model": settings.model,
            "api_base": settings.api_base,
            "messages": [_message(turn) for turn in request.messages],
            "temperature": sampling.temperature,
            # Claude refuses temperature and top_p together. To leave out a top_p of 1 changes nothing, since it cuts
            # nothing off.
            "top_p": None if sampling.top_p == 1 and "claude" in settings.model.lower() else sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "timeout": _UNBOUNDED,
            "max_retries": 0,
            "num_retries": 0,
            "caching": False,
            # A parameter that the provider does not support, such as a seed, is left out without an error. But
            # parameters that the user named, and the schema, are never left out silently.
            "drop_params": True,
            "allowed_openai_params": list(extra),
            **extra,
        }

    def _reply(self, request: Request, answer: Any, exchange: Exchange, batched: bool) -> Reply:
        """Return the reply from litellm's conversion of an answer, the parts of which may be of any type."""
        text, finish = _text(answer.choices[0]) if answer.choices else ("", "stop")
        # litellm rounds and changes a usage that it does not understand, so the counts are read from the body.
        reported = told_in(exchange.body) or _attributes(getattr(answer, "usage", None))
        used = counted(request, text, reported)
        model = answer.model if isinstance(answer.model, str) else ""
        cost = self._price(used.charged.prompt_tokens, used.charged.completion_tokens, batched) or 0
        return Reply(text, finish, used.told, model, cost, used.note)


def _attributes(usage: Any) -> dict[str, Any]:
    return {name: getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}


def _text(choice: Any) -> tuple[str, str]:
    """Return text and finish reason; a refusal, which OpenAI puts beside the text, counts as a content filter's.

    Raises:
        TypeError: the content is not a string.
    """
    message = choice.message
    finish = choice.finish_reason if isinstance(choice.finish_reason, str) and choice.finish_reason else "stop"
    if message.content:
        if not isinstance(message.content, str):
            raise TypeError(f"the text of the answer has the type {type(message.content).__name__}")
        return message.content, finish
    refusal = (getattr(message, "provider_specific_fields", None) or {}).get("refusal")
    return (refusal, "content_filter") if isinstance(refusal, str) and refusal else ("", finish)


def _held_to_schema(request: Request) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", request.reflection)[:64]
    schema = {"name": name, "schema": request.schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _message(turn: Turn) -> dict[str, Any]:
    """Return a turn as a message to a provider. Reasoning stays out: providers take none from elsewhere."""
    calls = tuple(evolve(call, arguments=_sendable(call.arguments)) for call in turn.tool_calls)
    return message_of(evolve(turn, content=_sendable(turn.content), reasoning=None, tool_calls=calls))


def _sendable(text: str) -> str:
    """Return the text with question marks for lone surrogates, which have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _channels() -> ModuleType:
    """Return the module that depends on litellm's internals, imported only after litellm is set up."""
    _litellm()
    from rt_framework.builtin.teachers import channel

    return channel


@cache
def _litellm() -> Any:
    """Return litellm, imported without reading ``.env`` or the network, and silenced."""
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*`ReadOnly` qualifier", category=UserWarning)
        import litellm

        litellm.ModelResponse()  # Its pydantic schemas are built at the first use, with warnings.
    litellm.suppress_debug_info = True
    litellm.set_verbose = False
    litellm.telemetry = False
    litellm.cache = None
    litellm.num_retries = None
    for kind in ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback"):
        setattr(litellm, kind, [])
    # Its log would repeat requests and answers on the terminal.
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL + 1)
    return litellm
