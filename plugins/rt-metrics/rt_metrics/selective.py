"""S-IFD: IFD of the tokens for which the instruction makes a difference. T-SHIRT, arXiv 2506.01317."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from rt_framework import Loss, Pair, Range, Span, aligned, by_token
from rt_framework.protocols import Frame
from rt_metrics.spread import Spread, step


class _Response:
    """Each token of the response with and without its instruction: Δ_t = L_t(y|x) − L_t(y), in nats."""

    direction = "higher"
    valid = Range()

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """``y|x`` and ``y``, by token."""
        return {"y|x": by_token(frame.response_given_instruction(pair)), "y": by_token(frame.response_alone(pair))}


class SelectiveIFD(_Response):
    """exp of the mean Δ_t over the informative tokens: those whose |Δ_t| is among the largest of the data set.

    Args:
        share: how many of all tokens are informative.
    """

    def __init__(self, share: float) -> None:
        self._share = share

    def fit(self, losses: Iterable[Mapping[str, Loss]]) -> FittedSelectiveIFD:
        """With the threshold: the 1 − share quantile of |Δ_t| over all tokens of all pairs, to one part in 4096."""
        spread = Spread()
        for one in losses:
            for given, alone in aligned(one["y|x"], one["y"]):
                spread.add(abs(given - alone))
        return FittedSelectiveIFD(spread.quantile(1 - self._share))


class FittedSelectiveIFD(_Response):
    """S-IFD with its threshold.

    Args:
        threshold: tokens whose |Δ_t| lies on a higher :func:`rt_metrics.spread.step` are informative.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """The value; 1 without an informative token, as in the authors' code."""
        every = (given - alone for given, alone in aligned(losses["y|x"], losses["y"]))
        informative = [delta for delta in every if step(abs(delta)) > self._threshold]
        return math.exp(math.fsum(informative) / max(len(informative), 1))


def s_ifd_50() -> SelectiveIFD:
    """Half of all tokens are informative."""
    return SelectiveIFD(0.5)


def s_ifd_75() -> SelectiveIFD:
    """Three quarters of all tokens are informative."""
    return SelectiveIFD(0.75)
