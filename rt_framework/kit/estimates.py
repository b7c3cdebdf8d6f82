"""Estimates for all rows from a sample of them, with 95 % confidence intervals."""

from __future__ import annotations

import math
from statistics import NormalDist

from attrs import frozen

_Z = NormalDist().inv_cdf(0.975)


@frozen
class Estimate:
    """A number and its 95 % interval, in any unit."""

    value: float
    """The estimate."""
    low: float
    """Lower end of its interval."""
    high: float
    """Upper end of its interval."""

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """Return the estimate of a number that is known exactly."""
        return cls(value, value, value)

    def times(self, factor: float, least: float = 0.0) -> Estimate:
        """Return the value and both ends of the interval times *factor*, each at least *least*."""
        return Estimate(*(max(factor * number, least) for number in (self.value, self.low, self.high)))


class Moments:
    """Count, mean and variance of a stream of numbers that are not stored (Welford 1962, Technometrics 4:419)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0

    def add(self, number: float) -> None:
        """Add one number."""
        self.count += 1
        away = number - self.mean
        self.mean += away / self.count
        self._squares += away * (number - self.mean)

    def interval(self, population: int | None = None) -> Estimate | None:
        """Return the mean with Student's t interval; ``None`` for fewer than two numbers.

        Args:
            population: size of the population that the numbers were drawn from without replacement, if it is known.
                The closer the count is to it, the narrower the interval; at the size itself the mean is exact (Cochran
                1977, Sampling Techniques, 2.15).
        """
        if population is not None and self.count >= population:
            return Estimate.exact(self.mean)
        if self.count < 2:
            return None
        left = 1.0 if population is None else 1 - self.count / population
        half = _t(self.count - 1) * math.sqrt(left * self._squares / (self.count - 1) / self.count)
        return Estimate(self.mean, self.mean - half, self.mean + half)


def share(hits: int, count: int, population: int) -> Estimate:
    """Return the estimated share of a population, 0 … 1, from *hits* in *count* drawn without replacement.

    The interval is Wilson's (1927, JASA 22:209, as in Brown, Cai and DasGupta 2001, Statistical Science 16:101), which
    is also sound near 0 and 1. A draw from a finite population is worth more, as much as one of ``count`` times
    (population − 1) / (population − count) from an infinite one.
    """
    fraction = hits / count
    if count >= population:
        return Estimate.exact(fraction)
    worth = count * (population - 1) / (population - count)
    weight = _Z * _Z / worth
    middle = (fraction + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * math.sqrt(fraction * (1 - fraction) / worth + weight / (4 * worth))
    return Estimate(fraction, max(middle - half, 0.0), min(middle + half, 1.0))


def _t(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5; 0.1 % off at 3 degrees of freedom)."""
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(freedom) ** power for power, term in enumerate(terms, 1))
