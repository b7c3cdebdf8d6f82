"""The HTTP client of the paid teachers, which records what it sends and what comes back.

A library that cannot convert an answer raises a server error of its own making. So an attempt is judged by the status
and the body that this client has seen, never by those in the exception.
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
"""Most bytes of a body that are read, decompressed; the longest answers of models have less than a tenth of that."""

_MOST_PARTS = 200_000
"""Most JSON objects and arrays in one answer. Each becomes a Python object, and parsing them cannot be interrupted."""

_NESTED = 300
"""Number of objects and arrays up to which no answer can be nested too deeply for any parser."""

_TIMEOUT = httpx.Timeout(86_400.0)
"""Timeout in seconds, too long to take effect: the run limits each attempt itself, and must end it first."""

_GZIP_OR_ZLIB = 47
"""Value of zlib's ``wbits`` that accepts either header."""


@define
class Exchange:
    """The record of one request of one attempt, and of its answer as it was on the wire."""

    sent: bool = False
    """True if the request was given to this client; if not, nothing is known about its answer."""
    status: int | None = None
    """HTTP status; ``None`` when no answer began."""
    headers: Mapping[str, str] = field(factory=dict)
    """Headers of the answer, by name in lower case."""
    body: bytes = b""
    """The body as far as it arrived, decompressed, at most :data:`MOST_BYTES`."""
    trouble: str = ""
    """Description of a fault of the connection or the body."""


_EXCHANGE: ContextVar[Exchange] = ContextVar("exchange")


@contextmanager
def exchanging() -> Iterator[Exchange]:
    """Yield an exchange in which the requests that this task sends within the block are recorded."""
    exchange = Exchange()
    token = _EXCHANGE.set(exchange)
    try:
        yield exchange
    finally:
        _EXCHANGE.reset(token)


@frozen
class Answer:
    """The beginning of an HTTP answer: status, headers, and the body still to be read."""

    status: int
    headers: Mapping[str, str]
    pieces: AsyncIterator[bytes]
    """Pieces of the body as they arrive."""


class RecordingClient(httpx.AsyncClient):
    """An HTTP client that records each exchange, follows no redirect, and limits the size of what it reads.

    The providers' libraries use it as an httpx client, but aiohttp carries the bytes, which takes half of the time. A
    proxy of the environment is used for other machines only, and ``SSL_CERT_FILE`` is obeyed.
    """

    def __init__(self) -> None:
        # Answers are requested uncompressed, since a compressed one could be a thousand times larger than its bytes.
        # httpx's own transport sends nothing here, and without verify it is made faster.
        super().__init__(verify=False, trust_env=False, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"})
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def send(self, request: httpx.Request, **_: Any) -> httpx.Response:
        """Send a request once, read the whole answer, and record both in the exchange of the attempt.

        Raises:
            httpx.RequestError: no answer came, it broke off, its body cannot be read, or the attempt has sent a
                request already.
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
        """Yield the lines of an answer that may not fit into memory; the exchange records all of it except the body.

        A line of more than *most* bytes is left out. Where the status is not 200, no lines are yielded and the exchange
        holds the body.

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
                raise httpx.DecodingError("the body of the response is compressed in an unknown way", request=request)
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
        """Yield the answer to a request, recorded in the exchange as far as it has come."""
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
        """Send a request over the network and yield its answer."""
        session = self._session(proxied=not is_loopback(request.url.host))
        sending = session.request(
            request.method,
            URL(str(request.url), encoded=True),
            headers=request.headers.multi_items(),
            data=await request.aread() or None,
            allow_redirects=False,
        )
        async with sending as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            yield Answer(answer.status, headers, answer.content.iter_any())

    def _session(self, proxied: bool) -> aiohttp.ClientSession:
        if proxied not in self._sessions:
            self._sessions[proxied] = aiohttp.ClientSession(
                # The run limits the number of calls under way.
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
"""Errors of aiohttp with the httpx errors that the providers' libraries know; any other becomes a ``ReadError``."""


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()


_FRAMING = frozenset({"content-encoding", "content-length", "transfer-encoding"})
"""Headers that describe the bytes on the wire, which no longer hold for the body that was read."""


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: by an address of the loopback range, or as ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# --- bodies -----------------------------------------------------------------------------------

_Unpack = Callable[[bytes, int], bytes]
"""Function that takes bytes of the wire and the most bytes wanted, and returns decompressed bytes."""


async def _read(answer: Answer, exchange: Exchange) -> None:
    """Read the body into the exchange, which keeps the part that was read if reading fails.

    Raises:
        httpx.DecodingError: the body is too large, or its compression or form cannot be read.
        aiohttp.ClientError: the answer broke off.
    """
    body, compressed = bytearray(), bytearray()
    encoding = answer.headers.get("content-encoding", "identity")
    unpack = _unpacker(encoding)
    try:
        async for piece in answer.pieces:
            # The bytes are also kept as they came, in case the body is not compressed as its header says.
            compressed += piece[: MOST_BYTES - len(compressed)]
            body += b"" if unpack is None else unpack(piece, MOST_BYTES + 1 - len(body))
            if max(len(body), len(compressed)) > MOST_BYTES - (unpack is None):
                raise httpx.DecodingError(f"the body of the response is larger than {MOST_BYTES // 10**6} MB")
        if unpack is None:
            raise httpx.DecodingError(f"the body of the response is compressed as '{encoding}', which is not supported")
        if answer.status < 300:
            _check_parts(bytes(body))
    except zlib.error as error:
        body = compressed
        exchange.trouble = f"the body of the response is not valid {encoding}: {error}"
        raise httpx.DecodingError(exchange.trouble) from None
    except httpx.DecodingError as error:
        exchange.trouble = str(error)
        raise
    except aiohttp.ClientError as error:
        exchange.trouble = f"the response broke off after {len(body)} bytes: {error}"
        raise
    finally:
        exchange.body = bytes(compressed if unpack is None else body)[:MOST_BYTES]


def _check_parts(body: bytes) -> None:
    """Check that a JSON body is small enough to parse, since no deadline can interrupt the parser.

    Raises:
        httpx.DecodingError: the body has too many parts, or they are nested too deeply.
    """
    parts = body.count(b"{") + body.count(b"[")
    if parts > _MOST_PARTS:
        raise httpx.DecodingError(f"the response has more than {_MOST_PARTS} parts")
    if parts > _NESTED:
        try:
            json.loads(body)
        except RecursionError:
            raise httpx.DecodingError("the parts of the response are nested too deeply") from None
        except ValueError:
            return  # litellm reads the body next and reports this error


def _unpacker(encoding: str) -> _Unpack | None:
    """Return the function that decompresses a body piece by piece; ``None`` for an unknown compression.

    A compression may be unknown, because the client does not ask for any.
    """
    match encoding.strip().lower():
        case "identity" | "":
            return lambda raw, _: raw
        case "gzip" | "x-gzip" | "deflate":
            unpacked = zlib.decompressobj(_GZIP_OR_ZLIB)
            return lambda raw, most: unpacked.decompress(raw, max(most, 1))
    return None


async def _lines(pieces: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, except too long ones; at most *most* bytes of a line are kept between pieces."""
    pending, too_long = bytearray(), False
    async for piece in pieces:
        *ended, unended = piece.split(b"\n")
        for part in ended:
            pending += part
            if not too_long and len(pending) <= most:
                yield bytes(pending)
            pending.clear()
            too_long = False
        pending += unended
        if len(pending) > most:
            pending.clear()
            too_long = True
    if pending and not too_long:
        yield bytes(pending)
