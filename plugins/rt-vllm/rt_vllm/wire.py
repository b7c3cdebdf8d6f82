"""HTTP requests to a server of models, and what their failures mean."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from attrs import frozen

from rt_framework.errors import ModelError
from rt_framework.text import shown
from rt_vllm.settings import ServerSettings

_STATUSES = {401: "auth", 403: "auth", 404: "model_missing", 408: "timeout", 429: "rate_limited", 501: "bad_request"}

_TOO_LONG = re.compile(
    r"maximum (model|context|allowed) length|longer than the (model|maximum)|max_model_len|exceeds? the model",
    re.IGNORECASE,
)
"""Messages of refusals of a sequence that does not fit the server's window."""

_PROBE_SECONDS = 30.0
_MOST_TOLD = 300
"""Most characters of a server's message that are quoted."""


class Failure(Exception):
    """A failed request.

    Args:
        kind: kind of the failure, as students and teachers name it; ``too_long`` for a sequence that does not fit.
        message: description in one line.
        retry_after: seconds that the server asked to wait, if it did.
    """

    def __init__(self, kind: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after = retry_after


@frozen
class _Open:
    """A client, and the event loop in which its connections live."""

    loop: asyncio.AbstractEventLoop
    client: httpx.AsyncClient


class Wire:
    """The connections to one server.

    Args:
        settings: address, key and timeout.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._open: _Open | None = None

    def look_up(self, path: str) -> Any:
        """Return what the server says at a path, such as which models it has. Blocks for up to 30 seconds.

        Raises:
            ModelError: the server is not there, or does not say.
        """
        base = self._settings.base
        try:
            with httpx.Client(headers=self._headers, timeout=_PROBE_SECONDS, trust_env=False) as client:
                answer = client.get(f"{base}{path}")
        except httpx.HTTPError as error:
            raise ModelError(self._without_key(f"{base}: the server cannot be reached: {_said(error)}")) from error
        if answer.status_code != 200:
            failure = _refusal(answer.status_code, answer.content, answer.headers)
            raise ModelError(self._without_key(f"{base}{path}: {failure.message}"))
        try:
            return answer.json()
        except ValueError as error:
            raise ModelError(f"{base}{path}: the answer is no JSON: {error}") from error

    async def post(self, path: str, body: Mapping[str, Any], most_bytes: int) -> Any:
        """Send one request, and return the JSON value of the answer.

        Args:
            path: path of the request.
            body: body of the request.
            most_bytes: largest body of an answer that is read.

        Raises:
            Failure: with its kind.
        """
        try:
            return await self._post(path, body, most_bytes)
        except Failure as failure:
            # A server may repeat the key that it was sent.
            raise Failure(failure.kind, self._without_key(failure.message), failure.retry_after) from failure

    async def _post(self, path: str, body: Mapping[str, Any], most_bytes: int) -> Any:
        try:
            async with asyncio.timeout(self._settings.timeout):
                async with self._client.stream("POST", f"{self._settings.base}{path}", json=body) as answer:
                    read = bytearray()
                    async for part in answer.aiter_bytes():
                        read += part
                        if len(read) > most_bytes:
                            raise Failure("unreadable", f"the answer has more than {most_bytes:,} bytes")
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Failure("timeout", f"no answer within {self._settings.timeout:g} s") from error
        except httpx.HTTPError as error:
            raise Failure("connection", _said(error)) from error
        if answer.status_code != 200:
            raise _refusal(answer.status_code, bytes(read), answer.headers)
        try:
            return json.loads(read)
        except ValueError as error:
            raise Failure("unreadable", f"the answer is no JSON: {error}") from error

    async def aclose(self) -> None:
        """Close all connections."""
        if self._open is not None:
            await self._open.client.aclose()
            self._open = None

    @property
    def _client(self) -> httpx.AsyncClient:
        """The client of the running event loop, since connections belong to one loop."""
        loop = asyncio.get_running_loop()
        if self._open is None or self._open.loop is not loop:
            # No proxy and no password file of the environment: the server is the one that the user named.
            client = httpx.AsyncClient(
                headers=self._headers,
                timeout=self._settings.timeout,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=self._settings.at_once),
                trust_env=False,
            )
            self._open = _Open(loop, client)
        return self._open.client

    def _without_key(self, message: str) -> str:
        return message.replace(self._settings.key, "***") if self._settings.key else message

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._settings.key}"} if self._settings.key else {}


def _refusal(status: int, body: bytes, headers: httpx.Headers) -> Failure:
    """Return the failure that an HTTP status other than 200 means."""
    message = _message(body)
    told = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    if 300 <= status < 400:
        return Failure("redirected", f"HTTP {status} to {shown(headers.get('location', 'nowhere'))}")
    if status in (400, 422):
        return Failure("too_long" if _TOO_LONG.search(message) else "bad_request", told)
    kind = _STATUSES.get(status, "overloaded" if status >= 500 else "bad_request")
    return Failure(kind, told, _pause(headers.get("retry-after")))


def _message(body: bytes) -> str:
    """Return the message in the body of a refusal, in one line."""
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        error = value.get("error", value)
        value = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    text = value if isinstance(value, str) else body.decode("utf-8", "replace")
    return " ".join(shown(text).split())[:_MOST_TOLD]


def _pause(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, which is a number or a date."""
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        try:
            return parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())[:_MOST_TOLD]
