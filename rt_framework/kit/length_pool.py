"""A pool of samples from which the nearest in length are taken, each at most once."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from rt_framework.model import Scored, digest


def draw(row: Scored, seed: int) -> str:
    """Return a random number for a sample: a hash of seed and id, so that it depends on no other sample."""
    return digest([seed, row.sample_id])


def length(row: Scored) -> int:
    """Return the length of the response in characters."""
    return len(row.version.pair.response)


class LengthPool:
    """Samples that can be taken out by length.

    Args:
        members: positions of the samples.
        lengths: the length of the sample at each position.
        luck: returns a random number for the sample at a position, which decides between samples that are equally near.
    """

    def __init__(self, members: Iterable[int], lengths: Sequence[int], luck: Callable[[int], str]) -> None:
        self._luck = luck
        groups: dict[int, array[int]] = defaultdict(lambda: array("Q"))
        for position in members:
            groups[lengths[position]].append(position)
        self._members = {size: self._sorted(same) for size, same in groups.items()}
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
        nearest = min(near, key=lambda size: (abs(size - wanted), self._rank(self._members[size][-1])))
        position = self._members[nearest].pop()
        if not self._members[nearest]:
            self._lengths.remove(nearest)
        return position

    def _sorted(self, positions: Iterable[int]) -> array[int]:
        """Return positions sorted so that the next one to take is last, where ``pop`` takes it."""
        return array("Q", sorted(positions, key=self._rank, reverse=True))

    def _rank(self, position: int) -> tuple[str, int]:
        return self._luck(position), position
