"""IFD and r-IFD, each under the name of its formula.

L(t|c) is the mean token loss of t after c, in nats. See docs/explanation/method.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rt_framework.builtin.metrics.parts import part_of
from rt_framework.builtin.metrics.settings import DEFAULT, ResponseSettings
from rt_framework.model import Pair, Range
from rt_framework.protocols import Frame
from rt_framework.spans import Loss, Span


class _Response:
    """The spans of IFD: the response with and without its instruction."""

    direction = "higher"

    def __init__(self, settings: ResponseSettings = DEFAULT) -> None:
        self._of = settings.of

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """Return the spans ``y|x`` and ``y``.

        Raises:
            Unscorable: the reasoning is asked for, and there is none.
        """
        given, alone = frame.response_given_instruction(pair), frame.response_alone(pair)
        return {"y|x": part_of(given, self._of), "y": part_of(alone, self._of)}


class _Instruction:
    """The spans of r-IFD: the instruction with and without its response."""

    direction = "lower"

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """Return the spans ``x|y`` and ``x``."""
        return {"x|y": frame.instruction_given_response(pair), "x": frame.instruction_alone(pair)}


class IFD(_Response):
    """IFD, exp(L(y|x) - L(y)): Superfiltering arXiv 2402.00530 and Selective Reflection-Tuning arXiv 2402.10110."""

    valid = Range(below=1)

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Return the ratio of perplexities, as the exponential of a difference, since one perplexity can overflow."""
        return math.exp(losses["y|x"].mean - losses["y"].mean)


class IFDLoss(_Response):
    """IFD as a ratio of losses, L(y|x) / L(y): Cherry LLM, arXiv 2308.12032."""

    valid = Range(at_most=1)

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Return the ratio of mean losses."""
        return losses["y|x"].mean / losses["y"].mean


class RIFD(_Instruction):
    """Reversed IFD, exp(L(x|g(y)) - L(x)), arXiv 2402.10110."""

    valid = Range(below=1)

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Return the ratio of perplexities."""
        return math.exp(losses["x|y"].mean - losses["x"].mean)


class RIFDLoss(_Instruction):
    """Reversed IFD as a ratio of losses, L(x|g(y)) / L(x)."""

    valid = Range(at_most=1)

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Return the ratio of mean losses."""
        return losses["x|y"].mean / losses["x"].mean
