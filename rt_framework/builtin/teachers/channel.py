"""A channel between litellm and our HTTP client: litellm converts requests and answers, and our client sends them."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import httpx
from attrs import define
from litellm.llms.azure.common_utils import BaseAzureLLM
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler
from litellm.llms.openai.openai import OpenAIChatCompletion

from rt_framework.builtin.teachers.transport import Answer, Exchange, RecordingClient, exchanging
from rt_framework.errors import PluginError

_CHANNEL: ContextVar[Channel] = ContextVar("channel")


class _Handler(AsyncHTTPHandler):  # type: ignore[misc]
    """Our client in the form that litellm takes for providers which it reaches without a client library of theirs."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        # The base class is not initialised, because it would make an HTTP client of its own.
        self.timeout = self.event_hooks = self.client_alias = None
        self.client = client

    def create_client(self, *_: Any, **__: Any) -> Any:
        """Stand in for the new client that the base class makes to send again when a connection broke."""
        return _Nothing()

    async def single_connection_post_request(self, *_: Any, **__: Any) -> Any:
        """Raise the connection error that is being handled, instead of sending again: an attempt is one request."""
        raise

    async def close(self) -> None:
        """Leave the client open, since it belongs to the channel."""


class _Nothing:
    async def aclose(self) -> None:
        """Do nothing, since there is nothing to close."""


class Channel:
    """Our HTTP client in the forms in which litellm takes one, for the attempts of one teacher.

    Args:
        client: sends the requests; by default a client that uses the network.
    """

    def __init__(self, client: RecordingClient | None = None) -> None:
        _divert()
        self.client = client or RecordingClient()
        self.handler = _Handler(self.client)
        self._copies: dict[int, tuple[Any, Any]] = {}

    @contextmanager
    def attempt(self) -> Iterator[Exchange]:
        """Send this task's litellm requests within the block through this channel, and yield their exchange."""
        token = _CHANNEL.set(self)
        try:
            with exchanging() as exchange:
                yield exchange
        finally:
            _CHANNEL.reset(token)

    def ours(self, original: Any) -> Any:
        """Return a copy of a library client that litellm made, which uses our client and never retries by itself."""
        if id(original) not in self._copies:
            # The original is kept alive, so that Python does not give its id to another object.
            self._copies[id(original)] = original, original.with_options(http_client=self.client, max_retries=0)
        return self._copies[id(original)][1]

    async def close(self) -> None:
        """Close every connection."""
        with suppress(RuntimeError):  # the event loop of the connections has ended, and they ended with it
            await self.client.aclose()


_MAKERS = ((OpenAIChatCompletion, "_get_openai_client"), (BaseAzureLLM, "get_azure_openai_client"))
"""Classes and methods of litellm that make the clients of OpenAI's library."""


@functools.cache
def _divert() -> None:
    """Let litellm's library clients use the channel of the current attempt, where there is one.

    litellm determines address, key and login of a provider when it makes the client. Other users of litellm in this
    process have no channel, and get the clients that they would get without this.

    Raises:
        PluginError: this release of litellm makes its clients elsewhere.
    """
    for owner, name in _MAKERS:
        original = vars(owner).get(name)
        if original is None:
            raise PluginError(
                f"litellm has no {owner.__name__}.{name}: this release of litellm was not tested with rt-framework; "
                "install the one that rt-framework's constraints name"
            )
        setattr(owner, name, _diverted(original))


def _diverted(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def diverted(*args: Any, **kwargs: Any) -> Any:
        channel = _CHANNEL.get(None)
        if channel is None:
            return original(*args, **kwargs)
        return channel.ours(original(*args, **{**kwargs, "client": None}))

    return diverted


# --- answers from memory ----------------------------------------------------------------------

_FORMS: tuple[dict[str, Any], ...] = (
    {
        "id": "",
        "object": "chat.completion",
        "created": 0,
        "model": "",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ""}}],
    },
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": ""}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    {
        "candidates": [{"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2},
    },
)
"""Answers with an empty text as OpenAI, Anthropic and Gemini write them."""

ANYTHING = json.dumps({name: value for form in _FORMS for name, value in form.items()}).encode()
"""Body of a valid answer of any provider, for calls of which only the request matters."""


@define
class Letter:
    """The answer that litellm gets from memory instead of the network in one attempt, and the request that it made."""

    status: int
    body: bytes
    sent: httpx.Request | None = None


_LETTER: ContextVar[Letter] = ContextVar("letter")


class _Memory(RecordingClient):
    """A client that sends nothing, and answers from the letter."""

    @asynccontextmanager
    async def carry(self, request: httpx.Request) -> AsyncIterator[Answer]:
        letter = _LETTER.get()
        await request.aread()
        letter.sent = request
        yield Answer(letter.status, {"content-type": "application/json"}, _whole(letter.body))


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


@contextmanager
def memory(status: int, body: bytes) -> Iterator[tuple[Channel, Letter]]:
    """Yield a channel that sends nothing: it answers with this status and body, and keeps the request in the letter."""
    letter = Letter(status, body)
    token = _LETTER.set(letter)
    try:
        yield _memory_channel(), letter
    finally:
        _LETTER.reset(token)


@functools.cache
def _memory_channel() -> Channel:
    return Channel(_Memory())
