"""The parts of a teacher's raw answer that are no text of the rewrite, such as its critique."""

from __future__ import annotations

import json
import re

from rt_framework.model import Pair
from rt_framework.text import visible

_MARKER = re.compile(r"^\[\[([a-z]+) [0-9a-f]{8}\]\]$", re.MULTILINE)


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
