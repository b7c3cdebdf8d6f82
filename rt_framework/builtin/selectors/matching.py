"""Nearest neighbours in length, each taken at most once."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from rt_framework.model import Scored, digest


def draw(row: Scored, seed: int) -> str:
    """A random number of a sample: a hash of seed and id, so that it depends on no other sample."""
    return digest([seed, row.sample_id])


def length(row: Scored) -> int:
    """Length of the response in characters."""
    return len(row.version.pair.response)


class LengthPool:
    """Samples to be taken out by length.

    Args:
        members: samples with their positions.
        seed: decides between equally near samples.
    """

    def __init__(self, members: Iterable[tuple[int, Scored]], seed: int) -> None:
        self._members: dict[int, list[tuple[str, int]]] = defaultdict(list)
        for position, row in members:
            self._members[length(row)].append((draw(row, seed), position))
        for same in self._members.values():
            same.sort(reverse=True)
        self._lengths = sorted(self._members)

    def __bool__(self) -> bool:
        return bool(self._lengths)

    def take(self, wanted: int) -> int:
        """Take out the sample nearest to a length and return its position.

        Raises:
            ValueError: the pool is empty.
        """
        place = bisect_left(self._lengths, wanted)
        near = self._lengths[max(0, place - 1) : place + 1]
        found = min(near, key=lambda own: (abs(own - wanted), self._members[own][-1]))
        _, position = self._members[found].pop()
        if not self._members[found]:
            self._lengths.remove(found)
        return position
