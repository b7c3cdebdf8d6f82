"""The HTTP client of the paid teachers, which notes what it sends and what comes back.

A library that cannot convert an answer reports a server error of its own making. So the status and the body that an
attempt is judged by are those that this client has seen, never those of the exception that comes back.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import cache
from typing import Any

import aiohttp
import httpx
from attrs import define, field, frozen
from yarl import URL

MOST_BYTES = 8_000_000
"""Longest body that is read, decompressed; the longest answers that models give have less than a tenth of it."""

_MOST_PARTS = 200_000
"""Most JSON objects and arrays of one answer. Each becomes a Python object, and reading them cannot be interrupted."""

_NESTED = 300
"""Parts of an answer up to which it cannot be nested too deep for any reader."""

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


@frozen
class Answer:
    """The beginning of an answer."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]
    """The body as it arrives."""


class RecordingClient(httpx.AsyncClient):
    """A client that notes each exchange, follows no redirect, and reads no more than it should.

    To the libraries of the providers it is one of httpx; aiohttp carries the bytes, in half of the time. A proxy of
    the environment is used for other machines only, and ``SSL_CERT_FILE`` is obeyed.
    """

    def __init__(self) -> None:
        # Compressed answers could be a thousand times larger than what is read of them.
        # httpx's own transport carries nothing here; without verify it costs no time to make.
        super().__init__(verify=False, trust_env=False, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"})
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

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
        async with self._noted(request, exchange) as answer:
            await _read(answer, exchange)
        kept = {name: value for name, value in exchange.headers.items() if name not in _FRAMING and value.isascii()}
        whole = httpx.Response(answer.status, headers=kept, content=exchange.body, request=request)
        whole.elapsed = timedelta()
        return whole

    async def lines(self, request: httpx.Request, most: int) -> AsyncIterator[bytes]:
        """The lines of an answer that may be larger than memory, noted in the exchange but for its body.

        A line of more than *most* bytes is left out. Where the status is not 200 there are no lines, but the body.

        Raises:
            httpx.RequestError: no answer came, or it broke off.
        """
        exchange = _EXCHANGE.get()
        exchange.sent = True
        async with self._noted(request, exchange) as answer:
            if answer.status != httpx.codes.OK:
                await _read(answer, exchange)
                return
            unpack = _unpacker(answer.headers.get("content-encoding", "identity"))
            if unpack is None:
                raise httpx.DecodingError("its body is compressed in an unknown way", request=request)
            async for line in _lines((unpack(piece, MOST_BYTES) async for piece in answer.pieces), most):
                yield line

    async def aclose(self) -> None:
        """Close every connection."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()
        await super().aclose()

    @asynccontextmanager
    async def _noted(self, request: httpx.Request, exchange: Exchange) -> AsyncIterator[Answer]:
        """The answer to a request, noted in the exchange as far as it has come."""
        try:
            async with self.carry(request) as answer:
                exchange.status, exchange.headers = answer.status, answer.headers
                yield answer
        except aiohttp.ClientError as error:
            exchange.trouble = exchange.trouble or f"{type(error).__name__}: {error}"
            kind = next((ours for theirs, ours in _ERRORS.items() if isinstance(error, theirs)), httpx.ReadError)
            raise kind(exchange.trouble, request=request) from error

    @asynccontextmanager
    async def carry(self, request: httpx.Request) -> AsyncIterator[Answer]:
        """Send a request over the network."""
        session = self._session(proxied=not is_loopback(request.url.host))
        asked = session.request(
            request.method,
            URL(str(request.url), encoded=True),
            headers=request.headers.multi_items(),
            data=await request.aread() or None,
            allow_redirects=False,
        )
        async with asked as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            yield Answer(answer.status, headers, answer.content.iter_any())

    def _session(self, proxied: bool) -> aiohttp.ClientSession:
        if proxied not in self._sessions:
            self._sessions[proxied] = aiohttp.ClientSession(
                # The run bounds how many calls are under way.
                connector=aiohttp.TCPConnector(limit=0, ssl=_certificates()),
                trust_env=proxied,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._sessions[proxied]


_ERRORS: dict[type[Exception], type[httpx.RequestError]] = {
    aiohttp.ClientHttpProxyError: httpx.ProxyError,
    aiohttp.ClientConnectorError: httpx.ConnectError,
    aiohttp.InvalidURL: httpx.UnsupportedProtocol,
}
"""Errors of aiohttp as those of httpx, which the providers' libraries know; any other is one of reading."""


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


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


async def _read(answer: Answer, exchange: Exchange) -> None:
    """Read the body into the exchange, which keeps what there is of it when that fails.

    Raises:
        httpx.DecodingError: it cannot be read as it is.
        aiohttp.ClientError: it broke off.
    """
    body, packed = bytearray(), bytearray()
    encoding = answer.headers.get("content-encoding", "identity")
    unpack = _unpacker(encoding)
    try:
        async for piece in answer.pieces:
            # As it came, too: a body that is not what it says is kept so.
            packed += piece[: MOST_BYTES - len(packed)]
            body += b"" if unpack is None else unpack(piece, MOST_BYTES + 1 - len(body))
            if max(len(body), len(packed)) > MOST_BYTES - (unpack is None):
                raise httpx.DecodingError(f"its body is larger than {MOST_BYTES // 10**6} MB")
        if unpack is None:
            raise httpx.DecodingError(f"its body is compressed as '{encoding}'")
        if answer.status < 300:
            _check_parts(bytes(body))
    except zlib.error as error:
        body = packed
        exchange.trouble = f"its body is no {encoding}: {error}"
        raise httpx.DecodingError(exchange.trouble) from None
    except httpx.DecodingError as error:
        exchange.trouble = str(error)
        raise
    except aiohttp.ClientError as error:
        exchange.trouble = f"it broke off after {len(body)} bytes: {error}"
        raise
    finally:
        exchange.body = bytes(packed if unpack is None else body)[:MOST_BYTES]


def _check_parts(body: bytes) -> None:
    """Whether reading a JSON body takes no longer than a deadline can bear, which cannot interrupt it.

    Raises:
        httpx.DecodingError: it has too many parts, or they are nested too deep.
    """
    parts = body.count(b"{") + body.count(b"[")
    if parts > _MOST_PARTS:
        raise httpx.DecodingError(f"it has more than {_MOST_PARTS} parts")
    if parts > _NESTED:
        try:
            json.loads(body)
        except RecursionError:
            raise httpx.DecodingError("its parts are nested too deep") from None
        except ValueError:
            return  # told by litellm, which reads it next


def _unpacker(encoding: str) -> _Unpack | None:
    """The function that decompresses a body piece by piece; ``None`` where its compression, which we did not ask for,
    is not known.
    """
    match encoding.strip().lower():
        case "identity" | "":
            return lambda raw, _: raw
        case "gzip" | "x-gzip" | "deflate":
            unpacked = zlib.decompressobj(_GZIP_OR_ZLIB)
            return lambda raw, most: unpacked.decompress(raw, max(most, 1))
    return None


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
