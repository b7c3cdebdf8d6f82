"""Sequences over a whole data set that save memory, because the texts of a million samples do not fit into it."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

T = TypeVar("T")


class LazySequence(Sequence[T]):
    """A sequence whose items are made at each access and not kept. A slice of it is such a sequence too.

    Args:
        length: number of items.
        make: returns the item at a position, from 0.
    """

    def __init__(self, length: int, make: Callable[[int], T]) -> None:
        self._length = length
        self._make = make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> LazySequence[T]: ...

    def __getitem__(self, index: int | slice) -> T | LazySequence[T]:
        places = range(self._length)[index]
        if isinstance(places, range):
            return LazySequence(len(places), lambda position: self._make(places[position]))
        return self._make(places)


def to_bytes(kind: str, values: Sequence[float]) -> bytes:
    """Return numbers as bytes, little-endian: ``f`` for float32, ``I`` for whole numbers of 32 bits."""
    numbers = array(kind, values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def from_bytes(kind: str, stored: bytes | None) -> tuple[Any, ...] | None:
    """Return the numbers that :func:`to_bytes` made; ``None`` where nothing is stored."""
    if stored is None:
        return None
    numbers = array(kind, stored)
    if sys.byteorder == "big":
        numbers.byteswap()
    return tuple(numbers)


class CompactStrings:
    """Short texts in one byte array: eight bytes more than its text for each, where a list of strings takes sixty."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add a text at the end."""
        self._bytes += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        return self._bytes[self._ends[index] : self._ends[index + 1]].decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))


class ScoreColumn:
    """The value, status and reason of each score of one metric. Equal pairs of status and reason are stored once."""

    def __init__(self) -> None:
        self._values = array("d")
        self._kinds = array("L")
        self._places: dict[tuple[str, str | None], int] = {}
        self._told: list[tuple[str, str | None]] = []

    def append(self, value: float | None, status: str, reason: str | None) -> None:
        """Add the next score."""
        outcome = (status, reason)
        place = self._places.setdefault(outcome, len(self._told))
        if place == len(self._told):
            self._told.append(outcome)
        self._kinds.append(place)
        self._values.append(float("nan") if value is None else value)

    def __getitem__(self, index: int) -> tuple[float | None, str, str | None]:
        value = self._values[index]
        return (None if value != value else value, *self._told[self._kinds[index]])
