"""litellm's way to our HTTP client: it converts requests and answers, and sends nothing by itself."""

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
    """The client as litellm wants it for the providers that it reaches without a library of theirs."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        # Not through the base class, which would make a client of its own.
        self.timeout = self.event_hooks = self.client_alias = None
        self.client = client

    def create_client(self, *_: Any, **__: Any) -> Any:
        """Stand in for the new client that the base class makes to send again when a connection broke."""
        return _Nothing()

    async def single_connection_post_request(self, *_: Any, **__: Any) -> Any:
        """Raise the connection error that is being handled: an attempt is one request."""
        raise

    async def close(self) -> None:
        """Leave the client open: it belongs to the channel."""


class _Nothing:
    async def aclose(self) -> None:
        """Nothing to close."""


class Channel:
    """A client of ours, in the forms in which litellm takes one, for the attempts of one teacher.

    Args:
        client: sends the requests; one for the network where it is left out.
    """

    def __init__(self, client: RecordingClient | None = None) -> None:
        _divert()
        self.client = client or RecordingClient()
        self.handler = _Handler(self.client)
        self._copies: dict[int, tuple[Any, Any]] = {}

    @contextmanager
    def attempt(self) -> Iterator[Exchange]:
        """Within, what litellm sends in this task goes through this channel and is noted in the exchange."""
        token = _CHANNEL.set(self)
        try:
            with exchanging() as exchange:
                yield exchange
        finally:
            _CHANNEL.reset(token)

    def ours(self, made: Any) -> Any:
        """A library client that litellm made, with our client under it and its own retries off."""
        if id(made) not in self._copies:
            # The original is kept, so that its id is not given to another one.
            self._copies[id(made)] = made, made.with_options(http_client=self.client, max_retries=0)
        return self._copies[id(made)][1]

    async def close(self) -> None:
        """Close every connection."""
        with suppress(RuntimeError):  # the event loop that they were made in has ended, and they with it
            await self.client.aclose()


_MAKERS = ((OpenAIChatCompletion, "_get_openai_client"), (BaseAzureLLM, "get_azure_openai_client"))
"""Where litellm makes the clients of OpenAI's library."""


@functools.cache
def _divert() -> None:
    """Let litellm's library clients go through the channel of the attempt, where there is one.

    litellm settles address, key and login of a provider at the moment at which it makes the client. Other users of
    litellm in this process have no channel, and get what they would get without this.

    Raises:
        PluginError: this release of litellm makes them elsewhere.
    """
    for owner, name in _MAKERS:
        original = vars(owner).get(name)
        if original is None:
            raise PluginError(
                f"litellm has no {owner.__name__}.{name}: this release of it was not tested with rt-framework; "
                "install the one that rt-framework's constraints name"
            )
        setattr(owner, name, _diverted(original))


def _diverted(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def made(*args: Any, **kwargs: Any) -> Any:
        channel = _CHANNEL.get(None)
        if channel is None:
            return original(*args, **kwargs)
        return channel.ours(original(*args, **{**kwargs, "client": None}))

    return made


# --- answers from memory ----------------------------------------------------------------------

ANYTHING = json.dumps(
    {
        "id": "",
        "object": "chat.completion",
        "created": 0,
        "model": "",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ""}}],
    }
).encode()
"""An answer, where only the request matters."""


@define
class Letter:
    """What passes through memory instead of the network in one attempt: an answer in, a request out."""

    status: int
    body: bytes
    sent: bytes | None = None


_LETTER: ContextVar[Letter] = ContextVar("letter")


class _Memory(RecordingClient):
    """A client that sends nothing: it answers from the letter."""

    @asynccontextmanager
    async def carry(self, request: httpx.Request) -> AsyncIterator[Answer]:
        letter = _LETTER.get()
        letter.sent = await request.aread()
        yield Answer(letter.status, {"content-type": "application/json"}, _whole(letter.body))


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body


@contextmanager
def memory(status: int, body: bytes) -> Iterator[tuple[Channel, Letter]]:
    """A channel that sends nothing: it answers with this status and body, and keeps the request in the letter."""
    letter = Letter(status, body)
    token = _LETTER.set(letter)
    try:
        yield _memory_channel(), letter
    finally:
        _LETTER.reset(token)


@functools.cache
def _memory_channel() -> Channel:
    return Channel(_Memory())
