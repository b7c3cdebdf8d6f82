"""The difference between two texts of several lines, such as the requests of a reflection, on one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest

_MOST_LINES = 12
"""Most changed lines of a text that are shown."""
_BEFORE, _WIDTH = 30, 120
"""Characters of a changed line that are shown before the change, and in all."""


def changed_lines(old: str, new: str) -> str:
    """Return the lines that only one of two texts has: removed ones after a minus, added ones after a plus."""
    changes = list(_changes(old.split("\n"), new.split("\n")))
    more = f" and {len(changes) - _MOST_LINES} more lines" if len(changes) > _MOST_LINES else ""
    return f"{' '.join(changes[:_MOST_LINES])}{more}"


def _changes(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        for removed, added in zip_longest(old[start:end], new[new_start:new_end]):
            shared = _shared(removed or "", added or "")
            yield from (
                f"{sign} {_excerpt(line, shared)}" for sign, line in (("-", removed), ("+", added)) if line is not None
            )


def _shared(one: str, other: str) -> int:
    """Return the number of characters with which both lines begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (left, right) in pairs if left != right), min(len(one), len(other)))


def _excerpt(line: str, shared: int) -> str:
    """Return the part of a line around its change, which comes after *shared* characters, in quotes."""
    start = max(0, shared - _BEFORE)
    end = start + _WIDTH
    return f'"{"…" if start else ""}{line[start:end]}{"…" if end < len(line) else ""}"'
