"""Long passages that many texts share word for word: a disclaimer under each answer, an opening that never changes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from statistics import median

from attrs import frozen

_SHOWN = 300
"""Characters of a passage that are kept; the rest is left out, so that memory stays bounded."""
_MOST = 200_000
"""Passages that are counted at once, in about 50 MB."""
_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n")


@frozen
class Passage:
    """A passage that stands in several texts."""

    text: str
    """The passage where it was found first, with single spaces; a long one is cut and ends in ``…``."""
    count: int
    """Number of texts in which it stands; capitals and white space may differ."""


def repeated_passages(texts: Iterable[str], most: int = 5, least: int = 100) -> list[Passage]:
    """Return the passages that stand in the largest number of texts, and in two at least; the most frequent first.

    A passage is a whole text, a paragraph or a sentence. One that stands nowhere but in an equally frequent longer one
    is left out. The texts are read once, in bounded memory: of texts with more than 200,000 different passages the
    rare ones are forgotten from time to time, so the count of a passage that is rare at first is a lower bound.

    Args:
        texts: the texts, such as the answers of a data set.
        most: number of passages to return.
        least: number of characters from which a passage counts; shorter ones are phrases of the language or of a
            template.
    """
    counts = PassageCounts(least)
    for text in texts:
        counts.add(text)
    return counts.top(most)


def _passages(text: str, least: int) -> dict[int, tuple[int, str]]:
    """Return the passages of a text: each by its hash, with the hash of the next longer one that it stands in."""
    found: dict[int, tuple[int, str]] = {}

    def add(passage: str, within: int) -> int:
        key = hash(" ".join(passage.casefold().split()))
        found.setdefault(key, (within, passage))
        return key

    whole = add(text, 0)
    for paragraph in _long(_PARAGRAPH.split(text), least):
        inner = add(paragraph, whole)
        for sentence in _long(_SENTENCE.split(paragraph), least):
            add(sentence, inner)
    return found


def _long(parts: Iterable[str], least: int) -> Iterator[str]:
    return (part for part in parts if len(part) >= least and len(part.strip()) >= least)


class PassageCounts:
    """The counts behind :func:`repeated_passages`, for a reader that meets the texts one by one among other things.

    Args:
        least: number of characters from which a passage counts.
    """

    def __init__(self, least: int = 100) -> None:
        self._least = least
        # Passages are counted by their hashes; the texts are kept only of those that were met again.
        self._counts: dict[int, int] = {}
        self._within: dict[int, int] = {}
        self._texts: dict[int, str] = {}

    def add(self, text: str) -> None:
        """Count the passages of one more text."""
        if len(text) < self._least:
            return
        counts = self._counts
        for key, (within, passage) in _passages(text, self._least).items():
            count = counts[key] = counts.get(key, 0) + 1
            if count == 1:
                self._within[key] = within
            elif count == 2:
                self._texts[key] = _cut(passage)
        if len(counts) > _MOST:
            self._forget()

    def _forget(self) -> None:
        """Forget the rarer half: none of them stood in more than 2 / ``_MOST`` of all passages so far."""
        rare = median(self._counts.values())
        for key in [key for key, count in self._counts.items() if count <= rare]:
            del self._counts[key], self._within[key]
            self._texts.pop(key, None)

    def top(self, most: int) -> list[Passage]:
        """Return the passages that stand in the largest number of texts, as :func:`repeated_passages` does."""
        counts = self._counts
        own = [key for key in self._texts if counts[key] != counts.get(self._within[key])]
        own.sort(key=lambda key: -counts[key])
        return [Passage(self._texts[key], counts[key]) for key in own[:most]]


def _cut(passage: str) -> str:
    text = " ".join(passage[: 4 * _SHOWN].split())
    return text if len(text) <= _SHOWN and len(passage) <= 4 * _SHOWN else f"{text[:_SHOWN]}…"
