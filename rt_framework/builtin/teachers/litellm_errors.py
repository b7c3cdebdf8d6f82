"""litellm's exceptions as kinds of teacher error.

Classes are told apart by name, over their bases and causes: litellm wraps the errors of some ten
client libraries, gives a broken connection the status 500, and is itself slow to import.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from rt_framework.errors import TeacherError
from rt_framework.plain import without_secrets

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
"""Error codes of a provider's answer that say more than its status."""

_PHRASES = {
    "credit balance is too low": "quota",
    "Missing credentials": "auth",
    "LLM Provider NOT provided": "model_missing",
    "complete message body": "paid_unreadable",
}
"""Words of errors that have neither code nor class of their own."""

_NO_ANSWER = {
    "JSONDecodeError": "paid_unreadable",
    "ClientPayloadError": "paid_unreadable",
    "APIResponseValidationError": "paid_unreadable",
    "APITimeoutError": "timeout",
    "TimeoutException": "timeout",
    "ImportError": "bad_request",
    "APIConnectionError": "connection",
    "TransportError": "connection",
    "OSError": "connection",
}
"""Causes of a failure without a readable HTTP answer, by class; an earlier entry beats a later one."""

_CLASSES = {
    "ContextWindowExceededError": "too_long",
    "ContentPolicyViolationError": "refused",
    "RateLimitError": "rate_limited",
    "APITimeoutError": "timeout",
    "AuthenticationError": "auth",
    "PermissionDeniedError": "auth",
    "NotFoundError": "model_missing",
}
"""litellm's classes that say more than the status they carry."""

_STATUSES = {200: "paid_unreadable", 401: "auth", 402: "quota", 403: "auth", 404: "model_missing"}
_STATUSES |= {408: "timeout", 413: "too_long", 429: "rate_limited"}

_PREFIX = re.compile(r"^(litellm\.)?((\w+Error|Timeout): )*(\w+Exception - )?")
_KEY_LIKE = re.compile(
    r"bearer\s+\S+|\b(?:sk|pk|rk|gsk|hf|xai)[-_][-_*\w]{6,}|\bAIza[-\w]{6,}|[-_a-z0-9]{40,}",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = re.compile(r"\d{1,9}(\.\d+)?")
_MAX_MESSAGE = 300


def teacher_error(error: Exception) -> TeacherError:
    """The teacher error for an exception of ``litellm.acompletion``; its message holds no key."""
    chain = list(_chain(error))
    kind = _kind(error, chain)
    # What a provider says about a key may quote the key in a form that no pattern knows.
    message = "check the provider's key in the environment" if kind == "auth" else _clean(str(error))
    return TeacherError(kind, message, _retry_after(chain))


def told_error(code: object, message: object, otherwise: str) -> TeacherError:
    """The teacher error for a code and a message that came without an exception; *otherwise* is for unknown codes."""
    return TeacherError(_CODES.get(code, otherwise) if isinstance(code, str) else otherwise, _clean(str(message)))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _kind(error: Exception, chain: list[BaseException]) -> str:
    return _by_word(error, chain) or _by_class(error, chain) or _by_status(error)


def _by_word(error: Exception, chain: list[BaseException]) -> str | None:
    text = str(error)
    codes = [_CODES[code] for link in chain if (code := _code(link)) in _CODES]
    phrases = [kind for phrase, kind in _PHRASES.items() if phrase in text]
    return next(iter(codes + phrases), None)


def _by_class(error: Exception, chain: list[BaseException]) -> str | None:
    # An HTTP answer with an error status is what it says, whatever went wrong in reading its body.
    answered = any(type(link).__name__ == "HTTPStatusError" for link in chain)
    return (None if answered else _first(_NO_ANSWER, chain)) or _first(_CLASSES, [error])


def _first(table: Mapping[str, str], links: list[BaseException]) -> str | None:
    names = {base.__name__ for link in links for base in type(link).__mro__}
    return next((kind for name, kind in table.items() if name in names), None)


def _by_status(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    if not isinstance(status, int):
        return "connection"
    return _STATUSES.get(status, "overloaded" if status >= 500 else "bad_request")


def _code(link: BaseException) -> str | None:
    """The error code in the provider's answer, if there is one."""
    body = getattr(link, "body", None)
    if not isinstance(body, Mapping):
        body = _json(getattr(link, "response", None))
    inner = body.get("error", body)
    code = inner.get("code") if isinstance(inner, Mapping) else None
    return code if isinstance(code, str) else None


def _json(response: Any) -> Mapping[str, Any]:
    try:
        body = response.json()
    except Exception:
        return {}
    return body if isinstance(body, Mapping) else {}


def _retry_after(chain: list[BaseException]) -> float | None:
    """Seconds until the time the provider named: it may give seconds or an HTTP date."""
    for link in chain:
        headers = getattr(link, "litellm_response_headers", None) or {}
        for name, value in headers.items():
            if name.lower() == "retry-after":
                return _seconds(str(value))
    return None


def _seconds(value: str) -> float | None:
    if _NUMBER.fullmatch(value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _clean(text: str) -> str:
    """One line without control characters or anything that looks like a key."""
    text = without_secrets(_PREFIX.sub("", text))
    text = "".join(char if char.isprintable() else " " for char in _KEY_LIKE.sub("***", text))
    text = " ".join(text.split())
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1] + "…"
