"""Conversion of failed attempts to kinds of teacher error.

The cost of an attempt is decided by the answer on the wire: only a real HTTP error status costs nothing. litellm's own
exceptions tell the rest. They wrap the exceptions of some ten client libraries, so classes are identified by name,
among their bases and causes.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from rt_framework.builtin.teachers.transport import Exchange
from rt_framework.errors import TeacherError
from rt_framework.text import without_secrets

_CODES = {
    "insufficient_quota": "quota",
    "billing_hard_limit_reached": "quota",
    "model_not_found": "model_missing",
    "context_length_exceeded": "too_long",
    "content_policy_violation": "refused",
    "content_filter": "refused",
    "token_limit_exceeded": "rate_limited",
    "batch_expired": "expired",
    "batch_cancelled": "batch_failed",
}
"""Error codes in a provider's answer that are more specific than its status."""

_PHRASES = {"credit balance is too low": "quota", "API key not valid": "auth"}
"""Phrases of error messages that have neither a code nor a class of their own."""

_UNSENT = {
    "Missing credentials": "auth",
    "Missing Gemini API key": "auth",
    "LLM Provider NOT provided": "model_missing",
}
"""Phrases of litellm's errors about requests that it did not send."""

_UNSENT_CLASSES = {"ImportError": "bad_request", "UnsupportedParamsError": "bad_request"}
"""Classes of errors that are raised before anything is sent."""

_NO_ANSWER = {
    "APITimeoutError": "timeout",
    "TimeoutException": "timeout",
    "APIConnectionError": "connection",
    "TransportError": "connection",
    "OSError": "connection",
}
"""Kinds of failures without an HTTP answer, by the class of the cause; an earlier entry beats a later one."""

_CLASSES = {
    "ContextWindowExceededError": "too_long",
    "ContentPolicyViolationError": "refused",
    "RateLimitError": "rate_limited",
    "AuthenticationError": "auth",
    "PermissionDeniedError": "auth",
    "NotFoundError": "model_missing",
}
"""litellm's exception classes that are more specific than the status that they carry."""

_STATUSES = {401: "auth", 402: "quota", 403: "auth", 404: "model_missing"}
_STATUSES |= {408: "timeout", 413: "too_long", 429: "rate_limited"}

_PREFIX = re.compile(r"^(litellm\.)?((\w+Error|Timeout): )*(\w+Exception - )?")
_KEY_LIKE = re.compile(
    r"bearer\s+\S+|\b(?:sk|pk|rk|gsk|hf|xai)[-_][-_*\w]{6,}|\bAIza[-\w]{6,}|[-_a-z0-9]{40,}",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(\.\d+)?")
_MAX_MESSAGE = 300
_MAX_TOLD = 100_000
"""Most bytes of an error's body that are examined."""


def teacher_error(error: Exception, exchange: Exchange, nano_dollars: int = 0) -> TeacherError:
    """Return the teacher error for an attempt that ended in an exception; its message holds no key.

    Args:
        error: as litellm or the client raised it.
        exchange: the exchange of the attempt.
        nano_dollars: cost of an answer that cannot be read, by its own token counts, if that is more than was reserved.
    """
    chain = list(_chain(error))
    if exchange.status is None:
        exchange = _of_another_client(chain) or exchange
    if exchange.status is not None:
        return answer_error(exchange, error, nano_dollars)
    if not exchange.sent:
        kind = _phrase(_UNSENT, str(error)) or _first(_UNSENT_CLASSES, chain)
        if kind is not None:
            return _told(kind, str(error))
    # Without an HTTP status it is unknown whether the provider charges for the attempt.
    kind = _first(_NO_ANSWER, chain) or (None if exchange.sent else _first(_CLASSES, [error])) or "paid_unreadable"
    return _told(kind, exchange.trouble or str(error) or type(error).__name__, billed="maybe")


def answer_error(exchange: Exchange, error: Exception | None = None, nano_dollars: int = 0) -> TeacherError:
    """Return the teacher error for an HTTP answer that is an error, a redirect, or cannot be read.

    Args:
        exchange: an exchange with a status.
        error: the exception raised while the answer was read, if it was read.
        nano_dollars: as in :func:`teacher_error`.
    """
    status, pause = exchange.status or 0, retry_after(exchange.headers)
    if 400 <= status < 600:
        code, message = _refusal(exchange.body)
        text = message or (str(error) if error else "")
        kind = _CODES.get(code) or _phrase(_PHRASES, text) or _first(_CLASSES, [error] if error else [])
        kind = kind or _STATUSES.get(status, "overloaded" if status >= 500 else "bad_request")
        return _told(kind, text or f"HTTP status {status}", retry_after=pause)
    if 300 <= status < 400:
        place = _clean(exchange.headers.get("location", "another place"))
        return TeacherError("redirected", f"HTTP status {status} to {place}; the prompt was not sent there", pause)
    why = exchange.trouble or (_clean(str(error)) if error else "the response has no readable form")
    size = f"HTTP status {status} with {len(exchange.body)} bytes"
    return TeacherError(
        "paid_unreadable", f"{size}: {why}", pause, raw=exchange.body, nano_dollars=nano_dollars or None
    )


def line_error(code: object, message: object, otherwise: str) -> TeacherError:
    """Return the teacher error for an error code and message without a status; *otherwise* is for unknown codes."""
    known = _CODES.get(code) if isinstance(code, str) else None
    return _told(known or otherwise, str(message), billed=None if known else "maybe")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the provider asks to wait; the header may hold seconds or an HTTP date."""
    milliseconds = headers.get("retry-after-ms", "")
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    if _NUMBER.fullmatch(value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _told(kind: str, text: str, billed: str | None = None, retry_after: float | None = None) -> TeacherError:
    # A provider's message about a key may quote the key in a form that no pattern recognises.
    message = "check the provider's key in the environment" if kind == "auth" else _clean(text)
    return TeacherError(kind, message, retry_after, billed=billed)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _of_another_client(chain: list[BaseException]) -> Exchange | None:
    """Return the exchange of a provider that litellm reaches by another client, where httpx has seen an error status.

    The status of any other exception may be made up by litellm.
    """
    link = next(
        (error for error in chain if any(base.__name__ == "HTTPStatusError" for base in type(error).__mro__)), None
    )
    response: Any = getattr(link, "response", None)
    status = getattr(response, "status_code", None)
    if not isinstance(status, int) or not 400 <= status < 600:
        return None
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Exchange(True, status, headers, getattr(response, "content", b""))


def _refusal(body: bytes) -> tuple[str, str]:
    """Return error code and message of a provider's error body; empty texts where there are none."""
    try:
        content = json.loads(body[:_MAX_TOLD])
    except (ValueError, RecursionError):
        return "", ""
    inner = content.get("error", content) if isinstance(content, Mapping) else None
    if isinstance(inner, str):
        return "", inner
    parts = (inner.get("code"), inner.get("message")) if isinstance(inner, Mapping) else (None, None)
    code, message = (part if isinstance(part, str) else "" for part in parts)
    return code, message


def _phrase(phrases: Mapping[str, str], text: str) -> str | None:
    return next((kind for phrase, kind in phrases.items() if phrase in text), None)


def _first(table: Mapping[str, str], links: list[Any]) -> str | None:
    names = {base.__name__ for link in links for base in type(link).__mro__}
    return next((kind for name, kind in table.items() if name in names), None)


def _clean(text: str) -> str:
    """Return one line without control characters and without anything that looks like a key."""
    text = without_secrets(_PREFIX.sub("", text[:_MAX_TOLD]))
    text = "".join(char if char.isprintable() else " " for char in _KEY_LIKE.sub("***", text))
    text = " ".join(text.split())
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"
