"""Text that may come from anywhere, made fit to be shown or stored: without control characters, without secrets."""

from __future__ import annotations

import base64
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from urllib.parse import quote

_VARIABLE = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD)S?$")
_LEAST = 6
"""Characters of a secret; a shorter one would take words out of ordinary text."""

_OPTION = re.compile(
    r"api[-_]?keys?$|(^|[-_])(secrets?|passwords?|passwd|credentials?|authorization)$|"
    r"(^|(access|api|auth|bearer|hf|id|refresh|ad)[-_]?)token$",
    re.IGNORECASE,
)
_KEY = re.compile(r"\b((sk|gsk|xai)[-_](?=[-\w]*\d)[-\w]{20,}|hf_[a-zA-Z0-9]{20,}|AIza[-\w]{20,})", re.ASCII)


def shown(text: object) -> str:
    """*text* without what a terminal would obey: each control character but newline and tab becomes ``�``.

    So do marks that change the direction of writing, and lone surrogates.
    """
    return "".join(c if unicodedata.category(c)[0] != "C" or c in "\n\t" else "�" for c in str(text))


def without_secrets(text: str) -> str:
    """*text* with ``***`` for every value of an environment variable that is named as a secret."""
    for secret in _secrets():
        text = text.replace(secret, "***")
    return text


def secret_place(value: object, path: str) -> str | None:
    """Path of the first option that is named as a secret or looks like a key, in nested plain values; else ``None``."""
    if isinstance(value, Mapping):
        named = (f"{path}.{key}" for key in value if _OPTION.search(str(key)))
        inner = (secret_place(one, f"{path}.{key}") for key, one in value.items())
        return next(named, None) or next(filter(None, inner), None)
    if isinstance(value, list | tuple):
        return next(filter(None, (secret_place(one, f"{path}.{at}") for at, one in enumerate(value))), None)
    return path if isinstance(value, str) and _KEY.search(value) else None


def _secrets() -> Iterator[str]:
    """The secrets of the environment, longest first, as they are and as addresses and headers write them."""
    values = {value for name, value in os.environ.items() if _VARIABLE.search(name.upper()) and len(value) >= _LEAST}
    for value in sorted(values, key=len, reverse=True):
        raw = value.encode("utf-8", "surrogateescape")
        yield from (value, quote(raw, safe=""), base64.b64encode(raw).decode())
