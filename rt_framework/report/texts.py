"""Text from any source, made fit for a page: characters that could mislead a browser are made visible."""

from __future__ import annotations

import json
import re

from rt_framework.model import Pair
from rt_framework.text import visible

_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters, marks that change the direction of writing, lone surrogates. Joiners stay: emoji need them."""

_MARKER = re.compile(r"^\[\[([a-z]+) [0-9a-f]{8}\]\]$", re.MULTILINE)


def fit(text: str) -> str:
    """Return *text* with ``�`` for each character that no page should hold; line ends become newlines."""
    return _UNFIT.sub("�", text.replace("\r\n", "\n"))


def clipped(text: str, most: int | None) -> str:
    """Return *text*, fit for the page; if longer than *most* characters, its beginning and how much is missing."""
    if most is None or len(text) <= most:
        return fit(text)
    return f"{fit(text[:most])} […{len(text) - most} more characters]"


def remarks(answer: str, pair: Pair) -> list[tuple[str, str]]:
    """Return what a teacher said beside the rewrite: the critique, and any other part that it was asked for.

    Args:
        answer: the teacher's raw answer: JSON, parts behind markers, or anything else.
        pair: the pair that was parsed from the answer.

    Returns:
        name and text of each part that is no text of the pair; the whole answer when it has no parts.
    """
    pair_texts = {text.strip() for text in (pair.instruction, pair.input, pair.response)}
    return [(name, text) for name, text in _parts(answer) if text.strip() not in pair_texts and visible(text)]


def _parts(answer: str) -> list[tuple[str, str]]:
    try:
        parsed = json.loads(answer)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict):
        return [(str(name), text) for name, text in parsed.items() if isinstance(text, str)]
    before, *marked = _MARKER.split(answer)
    parts = [(name, text.strip()) for name, text in zip(marked[::2], marked[1::2], strict=True)]
    return parts or [("answer", before)]
