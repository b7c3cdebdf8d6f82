"""IFD without what the length of the response explains of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from rt_framework import Loss, Pair, Range, Span
from rt_framework.protocols import Frame

_ONE = 2**40
"""Fixed point: sums of whole numbers are exact, so the fit does not depend on the order of the samples."""


class _Response:
    direction = "higher"
    valid = Range()

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """``y|x`` and ``y``, as IFD."""
        return {"y|x": frame.response_given_instruction(pair), "y": frame.response_alone(pair)}


class LengthResidual(_Response):
    """IFD − (a + b · log |y|): the line by least squares over the pairs whose IFD is below 1. Our own, of no paper."""

    def fit(self, losses: Iterable[Mapping[str, Loss]]) -> FittedLengthResidual:
        """With the line, from one pass with five sums."""
        count = xs = ys = xxs = xys = 0
        for one in losses:
            with suppress(OverflowError):
                if (ifd := _ifd(one)) < 1:
                    x, y = round(_log_length(one) * _ONE), round(ifd * _ONE)
                    count, xs, ys, xxs, xys = count + 1, xs + x, ys + y, xxs + x * x, xys + x * y
        spread = count * xxs - xs * xs
        slope = (count * xys - xs * ys) / spread if spread else 0.0
        level = (ys - slope * xs) / (count * _ONE) if count else 0.0
        return FittedLengthResidual(level, slope)


class FittedLengthResidual(_Response):
    """The residual with its line.

    Args:
        level: a, the line's IFD of a response of one token.
        slope: b, what IFD gains when the response is e times as long.
    """

    def __init__(self, level: float, slope: float) -> None:
        self.level = level
        self.slope = slope

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Distance of IFD above the line."""
        return _ifd(losses) - (self.level + self.slope * _log_length(losses))


def _ifd(losses: Mapping[str, Loss]) -> float:
    return math.exp(losses["y|x"].mean - losses["y"].mean)


def _log_length(losses: Mapping[str, Loss]) -> float:
    return math.log(losses["y|x"].tokens)
