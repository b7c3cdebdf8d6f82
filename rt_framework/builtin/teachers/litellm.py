"""A teacher behind an API: any provider that litellm supports, with one HTTP request per attempt."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rt_framework.builtin.teachers.litellm_messages import (
    attributes_of,
    held_to_schema,
    messages_to,
    model_of,
    text_of,
    tier_of,
)
from rt_framework.builtin.teachers.prices import Prices
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.builtin.teachers.usage import counted, stated_quotas, told_in
from rt_framework.errors import TeacherError
from rt_framework.model import Charge, Finding, Pending, Quotas, Reply, Request, Sampling, Turn, Usage

if TYPE_CHECKING:
    from rt_framework.builtin.teachers.batch_apis import BatchApi, Door
    from rt_framework.builtin.teachers.channel import Channel
    from rt_framework.builtin.teachers.transport import Exchange

_UNBOUNDED = 86_400.0
"""Timeout in seconds, too long to take effect: the run limits each attempt itself, before litellm would."""


_REASONING = 4096
"""Tokens of reasoning beside each answer, where the settings name none: several times what such a task takes."""


class LiteLLMTeacher:
    """Teacher that asks a provider through litellm, which is imported at the first use.

    Raises:
        ConfigError: the environment sends this provider's requests over plain http.
    """

    def __init__(self, settings: LiteLLMSettings) -> None:
        self._settings = settings
        self._channel: Channel | None = None
        self._quotas = Quotas()
        settings.check_environment()

    @property
    def identity(self) -> str:
        """Model and further parameters. Structured output is left out, since each request's schema shows it."""
        extra = json.dumps(self._settings.extra, sort_keys=True) if self._settings.extra else ""
        return f"litellm:{self._settings.model}{extra}"

    @property
    def place(self) -> str:
        """The provider, or the server that a setting or the environment names in its place."""
        return self._settings.place

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

    @cached_property
    def reasoning_tokens(self) -> int:
        """Return the setting, or else a default for models that litellm's list says to think before they answer."""
        if self._settings.reasoning_tokens is not None:
            return self._settings.reasoning_tokens
        # Claude thinks only if it is asked to.
        if "claude" in self._settings.model.lower() and "reasoning_effort" not in self._settings.extra:
            return 0
        try:
            return _REASONING if _litellm().supports_reasoning(self._settings.model) else 0
        except Exception:
            return 0

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """Return the most that so many tokens cost, rounded up; ``None`` for a model without a price.

        What a cache will save is not known before, so it is left out.
        """
        rates = self._prices.rates(prompt_tokens, self._settings.batch)
        return None if rates is None else rates.most(prompt_tokens, completion_tokens)

    def look(self) -> Iterator[Finding]:
        """Yield whether key, model, price and a server of the user's own are there. Sends no question."""
        from rt_framework.builtin.teachers.litellm_look import look

        return look(self._settings, _litellm(), self._prices.rates(1, self._settings.batch))

    @cached_property
    def _prices(self) -> Prices:
        return Prices(self._settings, _litellm)

    def _charge(self, used: Usage, batched: bool, tier: str | None = None) -> Charge | None:
        """Return the cost of an answer by its parts; ``None`` for a model without a price."""
        # A tier that was not asked for is not believed where it would be cheaper.
        asked = self._settings.extra.get("service_tier")
        tiers = (tier,) if tier is None or tier == asked else (tier, None)
        charges = [self._prices.charge(used, batched, one) for one in tiers]
        return max(filter(None, charges), key=lambda charge: charge.total, default=None)

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
        used = counted(request, None, told_in(exchange.body), self._most_answer_tokens(request))
        charge = self._charge(used.charged, batched)
        return 0 if charge is None else charge.total

    # --- the provider's batches -------------------------------------------------------------

    @property
    def batched(self) -> bool:
        """Return whether the settings ask for the provider's batch API."""
        return self._settings.batch

    @property
    def most_requests(self) -> int:
        """Limit of OpenAI for the requests of one batch; those of the other providers are higher."""
        return 50_000

    @property
    def most_bytes(self) -> int:
        """Most bytes of the prompts of a batch: less than half of 200 MB, the lowest of the providers' limits.

        Half, because a text in which all characters are escaped has twice the size in JSON.
        """
        return 80_000_000

    async def submit(self, requests: Mapping[str, Request], token: str) -> str:
        """Make one batch of requests, marked with the token.

        Raises:
            TeacherError: with the kind of failure.
        """
        drafts = {
            key: self._batches.draft(await self._unsent(request, self._nowhere(request)))
            for key, request in requests.items()
        }
        return await self._batches.submit(await self._door(), drafts, token)

    async def find(self, token: str) -> str | None:
        """Search the account's batches, and return the name of the one with this token.

        Raises:
            TeacherError: with the kind of failure.
        """
        return await self._batches.find(await self._door(), token)

    async def collect(
        self, batch: str, requests: Mapping[str, Request]
    ) -> Pending | Mapping[str, Reply | TeacherError]:
        """Ask once for the state of a batch; if it has ended, fetch its answers.

        Raises:
            TeacherError: with the kind of failure.
        """
        ends = await self._batches.collect(await self._door(), batch, requests)
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

    async def _unsent(self, request: Request, arguments: Mapping[str, Any]) -> Any:
        """Return the HTTP request that litellm makes of these arguments, without sending it.

        Raises:
            TeacherError: litellm makes none.
        """
        with _channels().memory(200, _channels().ANYTHING) as (channel, letter):
            await self._asked(request, arguments, channel, batched=True)
        if letter.sent is None:
            raise TeacherError("bad_request", "litellm asks this model by an API without batches; set 'batch: false'")
        return letter.sent

    async def _door(self) -> Door:
        """Return the way to the batches of the account that live calls use."""
        probe = Request("batch", "", 0, (Turn("user", "-"),), Sampling(max_tokens=16))
        # Only once litellm is known to send nothing by other means, it may make a request to the real address.
        await self._unsent(probe, self._nowhere(probe))
        sent = await self._unsent(probe, self._arguments(probe))
        return self._batches.door(self._connected().client, sent)

    @cached_property
    def _batches(self) -> BatchApi:
        from rt_framework.builtin.teachers.batch_apis import batch_api

        model = self._settings.model
        return batch_api(self._settings.provider, model.partition("/")[2] or model)

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
        extra = dict(settings.extra) if request.schema is None else {**settings.extra, **held_to_schema(request)}
        return {
            "model": settings.model,
            "api_base": settings.api_base,
            "messages": messages_to(request.messages, settings.model),
            "temperature": sampling.temperature,
            # Claude refuses temperature and top_p together. To leave out a top_p of 1 changes nothing, since it cuts
            # nothing off.
            "top_p": None if sampling.top_p == 1 and "claude" in settings.model.lower() else sampling.top_p,
            "max_tokens": self._most_answer_tokens(request),
            "seed": sampling.seed,
            "timeout": _UNBOUNDED,
            "max_retries": 0,
            "num_retries": 0,
            "caching": False,
            # A parameter that the provider does not support, such as a seed, is left out without an error. But
            # parameters that the user named, and the schema, are never left out silently.
            "drop_params": True,
            "allowed_openai_params": [name for name in extra if name not in self._converted],
            **extra,
        }

    @cached_property
    def _converted(self) -> frozenset[str]:
        """Parameters that litellm converts for this model; what is allowed besides is sent as it is."""
        return frozenset(_litellm().get_supported_openai_params(self._settings.model) or ())

    def _most_answer_tokens(self, request: Request) -> int:
        return request.sampling.max_tokens + self.reasoning_tokens

    def _reply(self, request: Request, answer: Any, exchange: Exchange, batched: bool) -> Reply:
        """Return the reply from litellm's conversion of an answer, the parts of which may be of any type."""
        text, finish, reasoning = text_of(answer)
        # litellm rounds and changes a usage that it does not understand, so the counts are read from the body.
        reported = told_in(exchange.body) or attributes_of(answer)
        used = counted(request, text, reported, self._most_answer_tokens(request))
        charge = self._charge(used.charged, batched, tier_of(answer))
        cost = 0 if charge is None else charge.total
        return Reply(text, finish, used.told, model_of(answer), cost, used.note, charge, reasoning)


def _channels() -> ModuleType:
    """Return the module that depends on litellm's internals, imported only after litellm is set up."""
    _litellm()
    from rt_framework.builtin.teachers import channel

    return channel


_NEVER_BEGUN = r"coroutine '\w*\.acompletion' was never awaited"


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
    # A call that is cancelled just before litellm begins it leaves a coroutine that is never awaited: nothing was sent.
    warnings.filterwarnings("ignore", message=_NEVER_BEGUN, category=RuntimeWarning)
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
