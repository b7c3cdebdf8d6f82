"""Measures that explain others: the loss and the length of the response, and how far it repeats its question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rt_framework.builtin.metrics.parts import part_of
from rt_framework.builtin.metrics.settings import DEFAULT, ResponseSettings
from rt_framework.errors import Unscorable
from rt_framework.kit.echo import echo_of
from rt_framework.model import Pair, Range
from rt_framework.protocols import Frame
from rt_framework.spans import Loss, Span
from rt_framework.text import visible


class MeanLoss:
    """Mean loss of the response after the instruction, L(y|x), in nats per token."""

    direction = "none"
    valid = Range()

    def __init__(self, settings: ResponseSettings = DEFAULT) -> None:
        self._of = settings.of

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """Return the spans of the response after the instruction, as ``y|x``.

        Raises:
            Unscorable: the reasoning is asked for, and there is none.
        """
        return {"y|x": part_of(frame.response_given_instruction(pair), self._of)}

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Return the mean token loss."""
        return losses["y|x"].mean


class Perplexity(MeanLoss):
    """Perplexity of the response after the instruction, exp L(y|x)."""

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Return the perplexity of the response."""
        return math.exp(losses["y|x"].mean)


class Length:
    """Number of response tokens, without a forward pass: the baseline that every selection should be compared with."""

    direction = "none"
    valid = Range()

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """Return the spans of the response, to be counted only, as ``len(y)``."""
        return {"len(y)": frame.response_length(pair)}

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Return the number of tokens."""
        return float(losses["len(y)"].tokens)


class Echo:
    """Share of the question's word trigrams that stand in the answer, from 0 to 1; reads texts alone.

    The question is the instruction and its input, the target of r-IFD; the answer is the response without reasoning.
    A turn that only calls tools repeats nothing.
    """

    direction = "none"
    valid = Range()

    def value(self, pair: Pair) -> float:
        """Return the share.

        Raises:
            Unscorable: the question has fewer than three words, or there is no answer.
        """
        if not visible(pair.question):
            raise Unscorable("empty", "the instruction is empty")
        if not visible(pair.answer) and not pair.tool_calls:
            raise Unscorable("empty", "the response is empty")
        share = echo_of(pair)
        if share is None:
            raise Unscorable("too_short", "the question has fewer than three words")
        return share
