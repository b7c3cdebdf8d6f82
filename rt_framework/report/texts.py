"""Text from any source, made fit for a page: characters that could mislead a browser are made visible."""

from __future__ import annotations

import re

_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters, marks that change the direction of writing, lone surrogates. Joiners stay: emoji need them."""


def fit(text: str) -> str:
    """Return *text* with ``�`` for each character that no page should hold; line ends become newlines."""
    return _UNFIT.sub("�", text.replace("\r\n", "\n"))


def clipped(text: str, most: int | None) -> str:
    """Return *text*, fit for the page; if longer than *most* characters, its beginning and how much is missing."""
    if most is None or len(text) <= most:
        return fit(text)
    return f"{fit(text[:most])} […{len(text) - most} more characters]"
