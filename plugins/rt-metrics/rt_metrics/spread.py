"""Quantiles of more numbers than one wants to hold."""

from __future__ import annotations

import math
from array import array

STEPS = 4096
"""Steps of an octave: numbers of one step differ by at most one part in 4096."""

_LOW, _HIGH = -40, 24
"""Exponents of two at which the scale ends; what lies outside counts as its end."""

_LEAST = math.ldexp(0.5, _LOW)
_MOST = math.ldexp(1.0, _HIGH) * (1 - 2**-53)


def step(number: float) -> int:
    """The step on which a number ≥ 0 lies, from 0; a larger number is never on a lower one."""
    mantissa, exponent = math.frexp(min(max(number, _LEAST), _MOST))
    return (exponent - _LOW) * STEPS + int((mantissa - 0.5) * 2 * STEPS)


class Spread:
    """Distribution of numbers ≥ 0 as counts for each step: two megabytes, however many values come in any order."""

    def __init__(self) -> None:
        self._counts = array("Q", [0]) * ((_HIGH - _LOW + 1) * STEPS)
        self._total = 0

    def add(self, number: float) -> None:
        """Take a number in."""
        self._counts[step(number)] += 1
        self._total += 1

    def quantile(self, share: float) -> int:
        """The step of the number below which about that share of the numbers lies; −1 without numbers.

        It is that of the order statistic ⌊share · (n − 1)⌋, counted from 0: what is greater than the
        quantile, which lies between this one and the next, is what comes after it.
        """
        left = math.floor(share * (self._total - 1))
        for place, count in enumerate(self._counts):
            if left < count:
                return place
            left -= count
        return -1
