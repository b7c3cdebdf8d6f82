"""A teacher behind an API: any provider that litellm knows, one HTTP request an attempt."""

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
from typing import Any

from rt_framework.builtin.teachers.litellm_batches import Line, OpenAIBatches
from rt_framework.builtin.teachers.litellm_errors import teacher_error
from rt_framework.builtin.teachers.places import place, provider_of
from rt_framework.builtin.teachers.settings import LiteLLMSettings, check_address
from rt_framework.errors import TeacherError
from rt_framework.model import Pending, Reply, Request, Usage

_UNBOUNDED = 86_400.0
"""Seconds: the run bounds each attempt itself, and litellm's own bound must not come first."""


_BATCHED = Fraction(1, 2)
"""What a batch costs, as a share of the same requests one by one."""


class LiteLLMTeacher:
    """Asks a provider through litellm, which is imported at the first use.

    Raises:
        ConfigError: the environment sends this provider's requests over plain http.
    """

    def __init__(self, settings: LiteLLMSettings) -> None:
        self._settings = settings
        self._batches = OpenAIBatches(_litellm, settings.api_base)
        provider = provider_of(settings.model)
        for suffix in ("_API_BASE", "_BASE_URL"):
            name = provider.upper() + suffix
            check_address(None if settings.api_base else os.environ.get(name), name)

    @property
    def identity(self) -> str:
        """Model and further parameters. Whether the answer is structured shows in each request's schema."""
        extra = json.dumps(self._settings.extra, sort_keys=True) if self._settings.extra else ""
        return f"litellm:{self._settings.model}{extra}"

    @property
    def place(self) -> str:
        """The provider, or the server that setting or environment name in its stead."""
        return place(provider_of(self._settings.model), self._settings.api_base, os.environ)

    @cached_property
    def structured(self) -> bool:
        """As set; else whether litellm's model list says that the model holds to a JSON schema."""
        litellm = _litellm()  # takes seconds, which must not count as those of the first attempt
        if self._settings.structured is not None:
            return self._settings.structured
        try:
            return bool(litellm.supports_response_schema(self._settings.model))
        except Exception:
            return False

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """Nano-dollars, rounded up; ``None`` for a model without a price. Discounts for cached prompts are left out."""
        return self._price(prompt_tokens, completion_tokens, self._settings.batch)

    def _price(self, prompt_tokens: int, completion_tokens: int, batched: bool) -> int | None:
        share = _BATCHED if batched else Fraction(1)
        if self._flat is not None:
            return math.ceil((self._flat[0] * prompt_tokens + self._flat[1] * completion_tokens) * share)
        listed = self._listed(prompt_tokens, completion_tokens)
        # A float's own error, some 1e-16 of the sum, is not rounded up.
        return None if listed is None else math.ceil(round(listed * float(share), 3))

    @cached_property
    def _flat(self) -> tuple[Fraction, Fraction] | None:
        """Nano-dollars of a prompt and of an answer token; ``None`` where they depend on how many there are.

        litellm takes as long for a price as SQLite for a commit.
        """
        asked, told = self._settings.input_price, self._settings.output_price
        if asked is not None and told is not None:  # for 10⁶ tokens, and a dollar is 10⁹
            return Fraction(str(asked)) * 1000, Fraction(str(told)) * 1000
        prices = []
        for prompt, completion in ((1, 0), (0, 1)):
            few, many = self._listed(1000 * prompt, 1000 * completion), self._listed(10**7 * prompt, 10**7 * completion)
            if few is None or many is None or not math.isclose(few / 1000, many / 10**7, rel_tol=1e-9):
                return None
            prices.append(Fraction(str(round(many / 10**7, 6))))
        return prices[0], prices[1]

    def _listed(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Nano-dollars by litellm's list."""
        try:
            dollars: float = sum(_litellm().cost_per_token(self._settings.model, prompt_tokens, completion_tokens))
        except Exception:
            return None
        return dollars * 1e9

    async def complete(self, request: Request) -> Reply:
        """Send one HTTP request and return what was paid for, usable or not.

        Raises:
            TeacherError: with the kind of failure.
        """
        acompletion = _litellm().acompletion
        try:
            answer = await acompletion(**self._arguments(request))
        except Exception as error:
            # Without its cause: a provider's text may quote the key.
            raise teacher_error(error) from None
        return self._reply(request, answer)

    # --- the provider's batches -------------------------------------------------------------

    @property
    def batched(self) -> bool:
        """As set."""
        return self._settings.batch

    @property
    def most_requests(self) -> int:
        """OpenAI's limit."""
        return 50_000

    @property
    def most_bytes(self) -> int:
        """Under half of OpenAI's limit for a file: in JSON a text grows, to twice its size where all is escaped."""
        return 80_000_000

    async def submit(self, requests: Mapping[str, Request], token: str) -> str:
        """Upload one file, make one batch.

        Raises:
            TeacherError: with the kind of failure.
        """
        return await self._batches.submit({key: self._arguments(one) for key, one in requests.items()}, token)

    async def find(self, token: str) -> str | None:
        """Look through the account's batches, newest first.

        Raises:
            TeacherError: with the kind of failure.
        """
        return await self._batches.find(token)

    async def collect(
        self, batch: str, requests: Mapping[str, Request]
    ) -> Pending | Mapping[str, Reply | TeacherError]:
        """Look once; if the batch has ended, fetch its files.

        Raises:
            TeacherError: with the kind of failure.
        """
        ends = await self._batches.collect(batch, requests)
        if isinstance(ends, Pending):
            return ends
        return {key: await self._read(requests[key], end) for key, end in ends.items()}

    async def _read(self, request: Request, end: Line | TeacherError) -> Reply | TeacherError:
        if isinstance(end, TeacherError):
            return end
        try:
            return self._reply(request, await self._batches.read(self._arguments(request), end), batched=True)
        except TeacherError as error:
            return error

    # --- one request ------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the connections that litellm keeps for every teacher of this process."""
        if _litellm.cache_info().currsize:
            litellm = _litellm()
            await litellm.close_litellm_async_clients()
            litellm.in_memory_llm_clients_cache.flush_cache()

    def _arguments(self, request: Request) -> dict[str, Any]:
        settings, sampling = self._settings, request.sampling
        asked = dict(settings.extra) if request.schema is None else {**settings.extra, **_held_to_schema(request)}
        return {
            "model": settings.model,
            "api_base": settings.api_base,
            "messages": [{"role": turn.role, "content": _sendable(turn.content)} for turn in request.messages],
            "temperature": sampling.temperature,
            # Claude refuses both; without a top_p it cuts nothing off, as with 1.
            "top_p": None if sampling.top_p == 1 and "claude" in settings.model.lower() else sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "timeout": _UNBOUNDED,
            "max_retries": 0,
            "num_retries": 0,
            "caching": False,
            # What a provider does not know is left out, so that a seed does no harm; but never in silence
            # what was asked for by name.
            "drop_params": True,
            "allowed_openai_params": list(asked),
            **asked,
        }

    def _reply(self, request: Request, answer: Any, batched: bool = False) -> Reply:
        text, finish = _text(answer.choices[0]) if answer.choices else ("", "stop")
        counted = getattr(answer, "usage", None)
        usage = Usage(getattr(counted, "prompt_tokens", 0) or 0, getattr(counted, "completion_tokens", 0) or 0)
        # An answer that does not say what it used is taken for the dearest it can be.
        dearest = (request.most_prompt_tokens, request.sampling.max_tokens)
        counted = (usage.prompt_tokens, usage.completion_tokens) if usage != Usage() else dearest
        return Reply(text, finish, usage, answer.model or "", self._price(*counted, batched) or 0)


def _text(choice: Any) -> tuple[str, str]:
    """Text and finish reason; a refusal, which OpenAI puts beside the text, is a content filter's."""
    message = choice.message
    if message.content:
        return message.content, choice.finish_reason or "stop"
    refusal = (getattr(message, "provider_specific_fields", None) or {}).get("refusal")
    return (refusal, "content_filter") if refusal else ("", choice.finish_reason or "stop")


def _held_to_schema(request: Request) -> dict[str, Any]:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", request.reflection)[:64]
    schema = {"name": name, "schema": request.schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _sendable(text: str) -> str:
    """The text with lone surrogates, which have no UTF-8 form, as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def _litellm() -> Any:
    """litellm, imported without reading ``.env`` or the net, and made quiet."""
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*`ReadOnly` qualifier", category=UserWarning)
        import litellm

        litellm.ModelResponse()  # Its pydantic schemas are made at the first use, and warn.
    litellm.suppress_debug_info = True
    litellm.set_verbose = False
    litellm.telemetry = False
    litellm.cache = None
    litellm.num_retries = None
    for kind in ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback"):
        setattr(litellm, kind, [])
    # Its log repeats requests and answers on the terminal.
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL + 1)
    _send_once()
    return litellm


def _send_once() -> None:
    """Keep litellm's own HTTP client from sending a request again when its connection breaks.

    ``max_retries`` governs only the clients of the providers' libraries.
    """
    from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

    async def give_up(*_: object, **__: object) -> None:
        raise  # Called while the connection error is handled.

    AsyncHTTPHandler.single_connection_post_request = give_up
