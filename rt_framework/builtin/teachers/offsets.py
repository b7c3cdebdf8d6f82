"""Offsets of answers in a file, held without the answers and their keys, which do not fit into memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

Key = tuple[str, str, int, int, int]
"""Reflection, pair hash, index, draw and step of an answer."""


class Offsets:
    """Offset in the file of each answer, by a hash of its key: 24 to 48 bytes per answer, without texts and keys.

    Two arrays, as a hash table with open addressing. Different keys may have the same hash, so a caller has to compare
    the key in the file.
    """

    def __init__(self, slots: int = 1024) -> None:
        self._hashes = array("q", [0]) * slots
        self._places = array("Q", [0]) * slots  # one more than the offset; 0 marks a free slot
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def of(self, key: Key) -> Iterator[int]:
        """Yield the offsets at which the key's answer may be."""
        for slot in self._slots(hash(key)):
            if self._hashes[slot] == hash(key):
                yield self._places[slot] - 1

    def add(self, key: Key, offset: int) -> None:
        """Add an answer."""
        self._put(hash(key), offset + 1)
        self._used += 1
        if 3 * self._used > 2 * len(self._places):
            larger = Offsets(2 * len(self._places))
            for number, place in zip(self._hashes, self._places, strict=True):
                if place:
                    larger._put(number, place)
            self._hashes, self._places = larger._hashes, larger._places

    def _put(self, number: int, place: int) -> None:
        steps = sum(1 for _ in self._slots(number))
        slot = (number + steps) & (len(self._places) - 1)
        self._hashes[slot], self._places[slot] = number, place

    def _slots(self, number: int) -> Iterator[int]:
        """Yield the used slots from the slot of a hash up to the next free one."""
        mask = len(self._places) - 1
        slot = number & mask
        while self._places[slot]:
            yield slot
            slot = (slot + 1) & mask
