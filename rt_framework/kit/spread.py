"""Statistics that compare two sets of numbers: pure arithmetic, each with its formula."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import NormalDist

from attrs import frozen

from rt_framework.kit.estimates import Estimate

_Z = NormalDist().inv_cdf(0.975)


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
        found = sorted(numbers)
        if not found:
            return None
        return cls(len(found), math.fsum(found) / len(found), *(quantile(found, part) for part in (0.25, 0.5, 0.75)))


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
    every = sorted([*((one, False) for one in smaller), *((one, True) for one in larger)])
    ranks, before = 0.0, 0
    for _, same in groupby(every, key=lambda one: one[0]):
        mine = [is_larger for _, is_larger in same]
        ranks += sum(mine) * (before + (len(mine) + 1) / 2)
        before += len(mine)
    return (ranks - len(larger) * (len(larger) + 1) / 2) / (len(smaller) * len(larger))


def repeats(keys: Iterable[object]) -> int:
    """Return the number of rows that repeat an earlier row: n minus the number of different keys."""
    return sum(count - 1 for count in Counter(keys).values())


# --- pairwise judgements ----------------------------------------------------------------------


@frozen
class Judged:
    """A pair of answers, judged in both orders."""

    shown_first: int
    """Number a = sign(score₁ − score₂) with A's answer shown first: 1 where A's is better, −1 where B's is."""
    shown_second: int
    """Number b: the same with B's answer shown first, with the sign turned back, so that 1 is A again."""
    lengths: tuple[int, int]
    """Characters of A's answer and of B's."""

    @property
    def verdict(self) -> int:
        """Verdict sign(a + b): 1 A wins, −1 B wins, 0 a tie. A preference that depends only on the order is a tie."""
        return sign(self.shown_first + self.shown_second)


@frozen
class Verdicts:
    """Counts of all judgements together. N is the number of pairs that were judged in both orders."""

    wins: int
    """Number of pairs that A wins."""
    ties: int
    losses: int
    conflicts: int
    """Number of pairs for which the two orders name different winners: a · b = −1."""
    longer: int
    """Number of decisions that the longer answer wins."""
    unequal: int
    """Number of decisions between answers of different length."""

    @classmethod
    def of(cls, judged: Iterable[Judged]) -> Verdicts:
        """Count the judgements."""
        pairs = list(judged)
        found = Counter(one.verdict for one in pairs)
        unequal = [one for one in pairs if one.verdict and one.lengths[0] != one.lengths[1]]
        return cls(
            wins=found[1],
            ties=found[0],
            losses=found[-1],
            conflicts=sum(one.shown_first * one.shown_second == -1 for one in pairs),
            longer=sum(one.verdict == sign(one.lengths[0] - one.lengths[1]) for one in unequal),
            unequal=len(unequal),
        )

    @property
    def count(self) -> int:
        """N, the number of judged pairs."""
        return self.wins + self.ties + self.losses

    @property
    def score(self) -> Estimate | None:
        """The win score of A with its interval, see :func:`win_score`; ``None`` when nothing was judged."""
        return win_score(self.wins, self.ties, self.losses) if self.count else None


def sign(number: float) -> int:
    """Return 1, 0 or −1."""
    return (number > 0) - (number < 0)


def win_score(wins: int, ties: int, losses: int) -> Estimate:
    """Return (wins − losses) / N + 1 with N = wins + ties + losses: 0 … 2, and 1 where neither side is better.

    The interval is Tango's score interval for a difference of paired shares (1998, Statistics in Medicine 17:891),
    shifted by 1. It consists of the differences d between −1 and 1 with |z(d)| ≤ 1.96, where

        z(d) = (wins − losses − N d) / √(N (2 q(d) + d (1 − d)))

    and q(d), the share of losses that is likeliest given d, is (√(β² − 8 N γ) − β) / (4 N) with
    β = −wins − losses + (2 N − wins + losses) d and γ = −losses · d (1 − d). Unlike the normal interval it stays within
    the range, and it has a width even where all verdicts are the same.

    Args:
        wins: verdicts for the side that is scored.
        ties: verdicts for neither.
        losses: verdicts for the other side. There is at least one verdict.
    """
    count = wins + ties + losses
    found = (wins - losses) / count
    low = -1.0 if losses == count else _edge(wins, losses, count, -1.0, found, _Z)
    high = 1.0 if wins == count else _edge(wins, losses, count, 1.0, found, -_Z)
    return Estimate(found + 1, low + 1, high + 1)


def _edge(wins: int, losses: int, count: int, out: float, found: float, wanted: float) -> float:
    """Return the d between *out* and *found* where z(d) is *wanted*, by 50 steps of bisection.

    z(d) falls as d rises; the result is within 2⁻⁵⁰ of the first interval's length.
    """
    for _ in range(50):
        middle = (out + found) / 2
        if abs(_z(wins, losses, count, middle)) > abs(wanted):
            out = middle
        else:
            found = middle
    return found


def _z(wins: int, losses: int, count: int, d: float) -> float:
    beta = -wins - losses + (2 * count - wins + losses) * d
    gamma = -losses * d * (1 - d)
    q = (math.sqrt(max(beta * beta - 8 * count * gamma, 0.0)) - beta) / (4 * count)
    spread = count * (2 * q + d * (1 - d))
    away = wins - losses - count * d
    return away / math.sqrt(spread) if spread > 0 else math.copysign(math.inf, away) if away else 0.0
