"""Metrics of the fit between a response and the student that is to learn it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rt_framework import Loss, Pair, Range, Span, by_token
from rt_framework.protocols import Frame

_MOST = 100
"""Ranks behind this one count as this one: r_max of the paper, rank_clip_r of the authors' code."""


class Grape:
    """log P(y|x) / |y|, which is −L(y|x), in nats a token: GRAPE, arXiv 2502.04194."""

    direction = "higher"
    valid = Range()

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """``y|x``."""
        return {"y|x": frame.response_given_instruction(pair)}

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """The mean log-probability."""
        return -losses["y|x"].mean


class RankSurprisalRatio:
    """Σ min(rank_t, 100) / Σ −log P(y_t|x, y_<t): RSR, arXiv 2601.14249.

    The mean of each token's rank over its surprisal, weighted by surprisal.
    """

    direction = "lower"
    valid = Range(above=0)

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """``y|x``, by token."""
        return {"y|x": by_token(frame.response_given_instruction(pair))}

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """The ratio. A response of which the student is wholly certain has none."""
        loss = losses["y|x"]
        return sum(min(rank, _MOST) for rank in loss.token_ranks) / math.fsum(loss.token_nll)
