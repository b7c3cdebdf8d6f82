"""Statistics of sets of numbers: quartiles, area under the ROC curve, repeats. Pure arithmetic, with formulas."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

from attrs import frozen


@frozen
class Spread:
    """The distribution of some numbers, in their own unit."""

    count: int
    mean: float
    """Σ x / n, with an exactly rounded sum."""
    low: float
    """First quartile, see :func:`quantile`."""
    median: float
    high: float
    """Third quartile."""

    @classmethod
    def of(cls, numbers: Iterable[float]) -> Spread | None:
        """Return the spread of some numbers; ``None`` when there are none."""
        ordered = sorted(numbers)
        if not ordered:
            return None
        return cls(
            len(ordered), math.fsum(ordered) / len(ordered), *(quantile(ordered, part) for part in (0.25, 0.5, 0.75))
        )


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return the value below which *part* of the numbers lie, by linear interpolation (Hyndman and Fan 1996, type 7).

    With h = (n − 1) · part: x[⌊h⌋] + (h − ⌊h⌋) · (x[⌊h⌋ + 1] − x[⌊h⌋]), with indices from 0.

    Args:
        ordered: the numbers, smallest first; at least one.
        part: 0 … 1.
    """
    place = (len(ordered) - 1) * part
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def auc(smaller: Sequence[float], larger: Sequence[float]) -> float | None:
    """Return the area under the ROC curve: the probability that a number of *larger* exceeds one of *smaller*.

    P(l > s) + ½ P(l = s) for l drawn from *larger* and s from *smaller*, which is U / (n m) with Mann and Whitney's U
    (1947): U = R − m (m + 1) / 2, where R is the sum of the ranks of the m numbers of *larger* among all, and equal
    numbers share the mean of their ranks. 0.5: both sets are alike in rank; 1: every number of *larger* is above every
    number of *smaller*.

    Returns:
        0 … 1; ``None`` when a set is empty.
    """
    if not smaller or not larger:
        return None
    every = sorted([*((number, False) for number in smaller), *((number, True) for number in larger)])
    ranks, before = 0.0, 0
    for _, same in groupby(every, key=lambda entry: entry[0]):
        mine = [is_larger for _, is_larger in same]
        ranks += sum(mine) * (before + (len(mine) + 1) / 2)
        before += len(mine)
    return (ranks - len(larger) * (len(larger) + 1) / 2) / (len(smaller) * len(larger))


def repeats(keys: Iterable[object]) -> int:
    """Return the number of rows that repeat an earlier row: n minus the number of different keys."""
    return sum(count - 1 for count in Counter(keys).values())
