"""r-IFD over the words of the instruction that its response does not repeat."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from attrs import evolve

from rt_framework.errors import Unscorable
from rt_framework.kit.echo import novel
from rt_framework.kit.turns import turns
from rt_framework.model import Pair, Range
from rt_framework.protocols import Frame
from rt_framework.spans import Loss, Span

BIGRAM = 2
"""Number of words in the n-grams by which words of the instruction count as repeated."""

LEAST_TOKENS = 4
"""Least number of tokens that the mean is taken over."""


class NovelRIFD:
    """Reversed IFD without echo: exp(L'(x|g(y)) - L'(x)), r-IFD of arXiv 2402.10110 over a part of its tokens.

    L' is the mean token loss, in nats, over the tokens of x in words that stand in no word bigram which the response of
    the same turn has too, without case and punctuation. Both passes are those of r-IFD and score the same tokens. So
    the value is free of the part that an answer gains by repeating its question. The formula is this project's own.

    A pair has no value if fewer than four tokens are left: status ``too_short``.
    """

    direction = "lower"
    valid = Range(below=1)

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """Return the spans of r-IFD with the words that the response does not repeat, as ``x|y`` and ``x``.

        Raises:
            Unscorable: the response repeats every word of the instruction.
        """
        answers = [turn.answer for turn in turns(pair)]
        spans = {
            "x|y": _unrepeated(frame.instruction_given_response(pair), answers),
            "x": _unrepeated(frame.instruction_alone(pair), answers),
        }
        if not spans["x"]:
            raise Unscorable("too_short", "the response repeats every word of the instruction")
        return spans

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Return the ratio of perplexities over the words that are left.

        Raises:
            Unscorable: fewer than four tokens are left.
        """
        tokens = min(losses["x|y"].tokens, losses["x"].tokens)
        if tokens < LEAST_TOKENS:
            raise Unscorable("too_short", f"the response leaves {tokens} tokens of the instruction unrepeated")
        return math.exp(losses["x|y"].mean - losses["x"].mean)


def _unrepeated(spans: Sequence[Span], answers: Sequence[str]) -> list[Span]:
    """Return the spans, one for each turn, with the ranges of unrepeated words; a turn without any is left out."""
    ranges = [novel(str(span.target), answer, BIGRAM) for span, answer in zip(spans, answers, strict=True)]
    return [evolve(span, scored=scored) for span, scored in zip(spans, ranges, strict=True) if scored]
