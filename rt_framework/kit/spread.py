"""Statistics of sets of numbers: quartiles, area under the ROC curve. Pure arithmetic, with formulas."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

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
    (1947): the number of pairs in which the number of *larger* is above, ties counted half. 0.5: both sets are alike in
    rank; 1: every number of *larger* is above every number of *smaller*.

    Returns:
        0 … 1; ``None`` when a set is empty.
    """
    if not smaller or not larger:
        return None
    ordered = sorted(smaller)
    # Numbers below one, and half of those equal to it: summed over all, U, in halves that are exact.
    doubled = sum(bisect_left(ordered, number) + bisect_right(ordered, number) for number in larger)
    return doubled / (2 * len(smaller) * len(larger))
