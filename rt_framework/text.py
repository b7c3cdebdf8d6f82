"""Text of any origin, made safe to show or store: without control characters and without secrets; the nearest name."""

from __future__ import annotations

import base64
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

# The patterns are texts, which `re` compiles when they are first used: every command imports this module, but most
# commands use none of them.

_VARIABLE = (
    r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|COOKIE)S?(_?(V?\d+|PEM|JSON|B64|BASE64|PROD|DEV|TEST))?$|"
    r"_PWD$|(^|_)(PASS|JWT|PAT|AUTH|OAUTH|AUTHORIZATION|BEARER|HEADERS|DSN|CONNECTION_STRING)$|"
    r"(BEARER|ACCESS|AUTH|API)_?(TOKEN|KEY)(_(?!FILE|PATH|DIR|URL|NAME|ALIAS)|$)"
)
"""Names of environment variables that hold a secret."""
_LOGIN = r"://[^/?#\s]*?:([^/?#\s]+)@"
"""Password in a URL such as that of a data base or a proxy."""
_LEAST = 6
"""Least length of a secret in characters; removing a shorter one would take words out of ordinary text."""
_PARTS, _LONG = r"""[\s,;=:"'{}]+""", 16
"""Separators between the parts of a value, and the least length in characters of a part that counts as a secret
itself."""

_OPTION = (
    r"(?i)(api|access|secret|private|service|account|subscription|auth|encryption|signing)[-_]?keys?([-_]?id)?$|"
    r"(^|[-_])(secrets?|passwords?|passwd|passphrase|credentials?|authorization|cookie|jwt|bearer)$|"
    r"(^|(access|api|auth|bearer|csrf|hf|id|refresh|ad|security|session)[-_]?)token$"
)
_IN_ADDRESS = (
    r"(?i)key|secret|token|passw|passphrase|pwd|credential|auth(?!ors?\b)|signature|cookie|jwt|bearer|session|"
    r"^(sig|code|pat)$"
)
"""Names that mean a secret in places where only URLs and headers are named: ``?key=``, ``?code=``, ``X-Key``."""
_HEADERS = r"(?i)headers?$"
_UNSEEN = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf", "Cs"))
"""Unicode categories of characters that show nothing."""
_KEY = r"(?a)\b((sk|gsk|xai)[-_](?=[-\w]*\d)[-\w]{20,}|hf_[a-zA-Z0-9]{20,}|AIza[-\w]{20,})"


def shown(text: object) -> str:
    """Return *text* with ``�`` for each control character except newline and tab, so that no terminal obeys it.

    Marks that change the direction of writing and lone surrogates are replaced as well.
    """
    return "".join(c if unicodedata.category(c)[0] != "C" or c in "\n\t" else "�" for c in str(text))


def visible(text: str) -> bool:
    """Return whether a text has more than white space, control and format characters, and lone surrogates."""
    # A character that this Python does not know yet counts as visible, since it may be, such as an emoji of a newer
    # Unicode.
    return text[:1].isalnum() or any(unicodedata.category(char) not in _UNSEEN for char in text)


_VALUE = r"(?<![<>≤≥]\s)(?<![\w.<>≤≥-])-?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?"
"""Pattern of a number that is no bound: a bound follows a comparison sign."""


def without_values(reason: str) -> str:
    """Return the reason of a decision with ``…`` for each of its numbers except bounds, in words that samples share."""
    return " ".join(re.sub(_VALUE, "…", reason).split())


def number_of(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, which is in the plural unless it is 1: ``1 sample``, ``12,000 samples``."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` when a known name is near, else an empty text."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""


def without_secrets(text: str) -> str:
    """Return *text* with ``***`` in place of every secret of the environment.

    Secrets are the values of variables with a telling name, the long parts of these values, and the passwords in URLs
    that other variables hold.
    """
    for secret in _secrets():
        text = text.replace(secret, "***")
    return text


def secret_place(value: object, path: str) -> str | None:
    """Return the path of the first option in nested plain values that holds a secret; ``None`` if there is none.

    An option holds a secret if its name says so, if its text looks like a key, or if it is a URL with a secret in it.
    """
    if isinstance(value, Mapping):
        # Names in a mapping of headers are header names, for which a stricter pattern applies.
        names = _IN_ADDRESS if re.search(_HEADERS, path) else _OPTION
        named = (f"{path}.{key}" for key in value if re.search(names, str(key)))
        inner = (secret_place(item, f"{path}.{key}") for key, item in value.items())
        return next(named, None) or next(filter(None, inner), None)
    if isinstance(value, list | tuple):
        return next(filter(None, (secret_place(item, f"{path}.{index}") for index, item in enumerate(value))), None)
    return path if isinstance(value, str) and (re.search(_KEY, value) or secret_in_address(value)) else None


def masked(value: object, name: str = "") -> Any:
    """Return nested plain values with ``***`` in place of everything that is or may be a secret.

    Options that may hold a secret are those of :func:`secret_place`. Values that JSON lacks become texts.
    """
    if isinstance(value, Mapping):
        names = _IN_ADDRESS if re.search(_HEADERS, name) else _OPTION
        return {
            str(key): "***" if re.search(names, str(key)) and item is not None else masked(item, f"{name}.{key}")
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(item, name) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value)
    return "***" if re.search(_KEY, text) or secret_in_address(text) else without_secrets(text)


def secret_in_address(text: str) -> str | None:
    """Return the name of the part of a URL that is or may be a secret; ``None`` for any other text.

    The parts are the user name or password, the query and the fragment. Query and fragment are judged by the names in
    them.
    """
    if "://" not in text or any(c.isspace() for c in text):
        return None
    before, _, fragment = text.partition("#")
    before, _, query = before.partition("?")
    scheme, _, address = before.partition("://")
    login, separator, _ = address.partition("/")[0].rpartition("@")
    # In abfss://container@account the part before the @ is no user, but in https://TOKEN@host it is a key.
    if separator and (":" in login or scheme.lower().startswith("http")):
        return "a user name or password"
    if any(re.search(_IN_ADDRESS, name) for name, _ in parse_qsl(query.replace(";", "&"), keep_blank_values=True)):
        return "a key in its query"
    return "a fragment" if re.search(_IN_ADDRESS, fragment) else None


def _secrets() -> Iterator[str]:
    """Yield the secrets of the environment, longest first, each as it is, URL-encoded and in Base64.

    Longest first, so that no secret is broken up by the removal of a shorter one in it.
    """
    values = set()
    for name, value in os.environ.items():
        if re.search(_VARIABLE, name.upper()):
            # A provider's message may repeat a single part of a value that consists of headers or of a JSON object.
            parts = (part for part in re.split(_PARTS, value) if len(part) >= _LONG)
            values |= {value, *parts}
        elif "://" in value:
            values |= {unquote(password) for password in re.findall(_LOGIN, value)} | {*re.findall(_LOGIN, value)}
    for value in sorted((secret for secret in values if len(secret) >= _LEAST), key=len, reverse=True):
        raw = value.encode("utf-8", "surrogateescape")
        yield from (value, quote(raw, safe=""), base64.b64encode(raw).decode())
