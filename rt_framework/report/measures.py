"""The few statistics of the page, on plain sequences of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import fsum
from statistics import median

from attrs import frozen

from rt_framework.matching import LengthPool
from rt_framework.model import digest


@frozen
class Middle:
    """Where a set of numbers lies."""

    count: int
    mean: float
    median: float


def middle(values: Sequence[float]) -> Middle | None:
    """Mean and median; ``None`` of nothing."""
    return Middle(len(values), fsum(values) / len(values), median(values)) if values else None


def auc(yes: Sequence[float], no: Sequence[float]) -> float | None:
    """Chance that a number drawn from *yes* is larger than one drawn from *no*, ties counting half.

    The area under the ROC curve of the number as a predictor (Mann and Whitney's U over n₁·n₂): 0.5 says nothing of the
    class, 1 and 0 tell it for sure. ``None`` if either is empty.
    """
    if not yes or not no:
        return None
    ranked = sorted([(value, True) for value in yes] + [(value, False) for value in no])
    below, wins = 0, 0.0
    for _, tied in groupby(ranked, key=lambda one: one[0]):
        group = [is_yes for _, is_yes in tied]
        others = group.count(False)
        wins += (len(group) - others) * (below + others / 2)
        below += others
    return wins / (len(yes) * len(no))


def random_like(ids: Sequence[str], size: int, seed: int = 0) -> list[int]:
    """Positions of *size* of the ids, drawn by a hash of seed and id."""
    return sorted(range(len(ids)), key=lambda at: digest([seed, ids[at]]))[:size]


def length_matched(
    ids: Sequence[str], lengths: Sequence[int], chosen: Sequence[int], seed: int = 0
) -> tuple[list[int], int]:
    """For each chosen position another of nearly the same length, from those not chosen while there are any.

    Returns:
        the positions, and how many had to come from the chosen ones themselves.
    """
    taken = set(chosen)
    outside = LengthPool((at for at in range(len(ids)) if at not in taken), lengths, lambda at: digest([seed, ids[at]]))
    inside = LengthPool(chosen, lengths, lambda at: digest([seed, ids[at]]))
    found, scarce = [], 0
    for at in chosen:
        scarce += not outside
        found.append((outside or inside).take(lengths[at]))
    return found, scarce
