"""Verdicts of a judge that saw each pair of answers in both orders, and the win score that follows from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from statistics import NormalDist

from attrs import frozen

from rt_framework.kit.estimates import Estimate

_Z = NormalDist().inv_cdf(0.975)


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
