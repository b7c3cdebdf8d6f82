"""Measures of the response without a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rt_framework.model import Pair, Range
from rt_framework.protocols import Frame
from rt_framework.spans import Loss, Span


class MeanLoss:
    """L(y|x), in nats a token."""

    direction = "none"
    valid = Range()

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """``y|x``."""
        return {"y|x": frame.response_given_instruction(pair)}

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """The mean itself."""
        return losses["y|x"].mean


class Perplexity(MeanLoss):
    """exp L(y|x)."""

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Perplexity of the response."""
        return math.exp(losses["y|x"].mean)


class Length:
    """Tokens of the response, without a forward pass: the baseline every selection is to be held against."""

    direction = "none"
    valid = Range()

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """``len(y)``."""
        return {"len(y)": frame.response_length(pair)}

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """The count."""
        return float(losses["len(y)"].tokens)
