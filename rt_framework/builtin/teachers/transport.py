"""The HTTP client of the paid teachers, which notes what it sends and what comes back.

A library that cannot convert an answer reports a server error of its own making. So the status and the body that an
attempt is judged by are those that this client has seen, never those of the exception that comes back.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import httpx
from attrs import define, field

MOST_BYTES = 8_000_000
"""Longest body that is read, decompressed; the longest answers that models give have less than a tenth of it."""

_MOST_PARTS = 200_000
"""Most JSON objects and arrays of one answer. Each becomes a Python object, and reading them cannot be interrupted."""

_UNLIMITED = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30.0)
"""The run bounds how many calls are under way."""

_TIMEOUT = httpx.Timeout(86_400.0)
"""Seconds. The run bounds each attempt itself, and no other bound must come first."""

_GZIP_OR_ZLIB = 47
"""zlib's ``wbits`` for either header."""


@define
class Exchange:
    """One request of one attempt, and the answer to it as it was on the wire."""

    sent: bool = False
    """Whether the request went to this client: without that nothing is known of how it was answered."""
    status: int | None = None
    """HTTP status; ``None`` when no answer began."""
    headers: Mapping[str, str] = field(factory=dict)
    """Headers of the answer, by name in lower case."""
    body: bytes = b""
    """As much of the body as arrived, decompressed, at most :data:`MOST_BYTES`."""
    trouble: str = ""
    """What was wrong with the connection or the body, in words."""


_EXCHANGE: ContextVar[Exchange] = ContextVar("exchange")


@contextmanager
def exchanging() -> Iterator[Exchange]:
    """Within, what this task sends is noted in the exchange that this gives."""
    exchange = Exchange()
    token = _EXCHANGE.set(exchange)
    try:
        yield exchange
    finally:
        _EXCHANGE.reset(token)


class RecordingClient(httpx.AsyncClient):
    """A client that notes each exchange, follows no redirect, and reads no more than it should.

    A proxy of the environment is used for other machines only, and ``SSL_CERT_FILE`` is obeyed.

    Args:
        transport: carries the requests; the network where it is left out.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # Compressed answers could be a thousand times larger than what is read of them.
        common: dict[str, Any] = {"timeout": _TIMEOUT, "headers": {"Accept-Encoding": "identity"}}
        if transport is not None:
            super().__init__(transport=transport, trust_env=False, **common)
            self._direct: httpx.AsyncClient | None = None
            return
        context = httpx.create_ssl_context()
        super().__init__(verify=context, limits=_UNLIMITED, **common)
        self._direct = httpx.AsyncClient(verify=context, limits=_UNLIMITED, trust_env=False, **common)

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """Send once, read the whole answer, and note both in the exchange of the attempt.

        Raises:
            httpx.RequestError: no answer came, it broke off, its body cannot be read, or the attempt has sent already.
        """
        exchange = _EXCHANGE.get(None) or Exchange()
        if request.method == "POST":
            # litellm sends some requests again by itself, and each of them is paid for.
            if exchange.sent:
                raise httpx.RequestError("an attempt is one request", request=request)
            exchange.sent = True
        async with self._answering(request, exchange) as answer:
            exchange.status = answer.status_code
            exchange.headers = {name.lower(): value for name, value in answer.headers.items()}
            await _read(answer, exchange)
        kept = {name: value for name, value in exchange.headers.items() if name not in _FRAMING}
        whole = httpx.Response(answer.status_code, headers=kept, content=exchange.body, request=request)
        whole.elapsed = answer.elapsed
        return whole

    @asynccontextmanager
    async def _answering(self, request: httpx.Request, exchange: Exchange) -> AsyncIterator[httpx.Response]:
        direct = self._direct if is_loopback(request.url.host) else None
        send = super().send if direct is None else direct.send
        try:
            answer = await send(request, stream=True, follow_redirects=False)
        except httpx.RequestError as error:
            exchange.trouble = f"{type(error).__name__} {error}".strip()
            raise
        try:
            yield answer
        finally:
            await answer.aclose()

    async def lines(self, request: httpx.Request, most: int) -> AsyncIterator[bytes]:
        """The lines of an answer that may be larger than memory, noted in the exchange but for its body.

        A line of more than *most* bytes is left out. Where the status is not 200 there are no lines, but the body.
        """
        exchange = _EXCHANGE.get()
        exchange.sent = True
        async with self._answering(request, exchange) as answer:
            exchange.status = answer.status_code
            exchange.headers = {name.lower(): value for name, value in answer.headers.items()}
            if answer.status_code != httpx.codes.OK:
                await _read(answer, exchange)
                return
            unpack = _unpacker(exchange.headers.get("content-encoding", "identity"))
            async for line in _lines(_unpacked(answer, unpack), most):
                yield line

    async def aclose(self) -> None:
        """Close every connection."""
        if self._direct is not None:
            await self._direct.aclose()
        await super().aclose()


_FRAMING = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers that speak of the bytes on the wire, not of those that were read."""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: by an address of the loopback range, or as ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --- bodies -----------------------------------------------------------------------------------

_Unpack = Callable[[bytes, int], bytes]
"""Bytes of the wire, and how many decompressed ones are wanted at most."""


async def _read(answer: httpx.Response, exchange: Exchange) -> None:
    """Read the body into the exchange, which keeps what there is of it when that fails.

    Raises:
        httpx.RequestError: it broke off, or cannot be read as it is.
    """
    body = bytearray()
    encoding = exchange.headers.get("content-encoding", "identity")
    try:
        unpack = _unpacker(encoding)
        async for raw in answer.aiter_raw():
            body += unpack(raw, MOST_BYTES + 1 - len(body))
            if len(body) > MOST_BYTES:
                del body[MOST_BYTES:]
                raise httpx.DecodingError(f"its body is larger than {MOST_BYTES // 10**6} MB")
        if body.count(b"{") + body.count(b"[") > _MOST_PARTS:
            raise httpx.DecodingError(f"it has more than {_MOST_PARTS} parts")
    except zlib.error as error:
        exchange.trouble = f"its body is no {encoding}: {error}"
        raise httpx.DecodingError(exchange.trouble) from None
    except httpx.DecodingError as error:
        exchange.trouble = str(error)
        raise
    except httpx.RequestError as error:
        exchange.trouble = f"it broke off after {len(body)} bytes: {error}"
        raise
    finally:
        exchange.body = bytes(body)


def _unpacker(encoding: str) -> _Unpack:
    """The function that decompresses a body piece by piece.

    Raises:
        httpx.DecodingError: its compression is not known. We ask for none.
    """
    match encoding.strip().lower():
        case "identity" | "":
            return lambda raw, _: raw
        case "gzip" | "x-gzip" | "deflate":
            unpacked = zlib.decompressobj(_GZIP_OR_ZLIB)
            return lambda raw, most: unpacked.decompress(raw, max(most, 1))
    raise httpx.DecodingError(f"its body is compressed as '{encoding}'")


async def _unpacked(answer: httpx.Response, unpack: _Unpack) -> AsyncIterator[bytes]:
    async for raw in answer.aiter_raw():
        yield unpack(raw, MOST_BYTES)


async def _lines(pieces: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """Lines of a stream, without those that are too long, of which no more than *most* bytes are held."""
    held, too_long = bytearray(), False
    async for piece in pieces:
        *ended, rest = piece.split(b"\n")
        for part in ended:
            held += part
            if not too_long and len(held) <= most:
                yield bytes(held)
            held.clear()
            too_long = False
        held += rest
        if len(held) > most:
            held.clear()
            too_long = True
    if held and not too_long:
        yield bytes(held)
