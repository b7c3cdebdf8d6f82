"""The frame of one pair, which makes each span once for all metrics and tells which spans are its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve

from rt_framework.model import Pair
from rt_framework.protocols import Frame
from rt_framework.spans import Span


class PairFrame:
    """The :class:`rt_framework.protocols.Frame` of a run as the metrics of one pair see it.

    Args:
        frame: the frame of the run.
        pair: the pair. Spans of any other pair are made by *frame* at each call, and are a metric's own.
    """

    def __init__(self, frame: Frame, pair: Pair) -> None:
        self._frame = frame
        self._pair = pair
        self._made: dict[str, tuple[Span, ...]] = {}

    def response_given_instruction(self, pair: Pair) -> Sequence[Span]:
        """Return y after x."""
        return self._once("y|x", self._frame.response_given_instruction, pair)

    def response_alone(self, pair: Pair) -> Sequence[Span]:
        """Return y without x."""
        return self._once("y", self._frame.response_alone, pair)

    def instruction_given_response(self, pair: Pair) -> Sequence[Span]:
        """Return x after g(y)."""
        return self._once("x|y", self._frame.instruction_given_response, pair)

    def instruction_alone(self, pair: Pair) -> Sequence[Span]:
        """Return x without y."""
        return self._once("x", self._frame.instruction_alone, pair)

    def response_length(self, pair: Pair) -> Sequence[Span]:
        """Return y to be counted only."""
        return self._once("len(y)", self._frame.response_length, pair)

    def name_of(self, spans: Sequence[Span], usual: str) -> str | None:
        """Return the name of spans that this frame has made of its pair, also by token; ``None`` for other spans.

        Args:
            spans: spans that a metric declares.
            usual: the metric's own name for them, which decides where two of the frame's names have equal spans.
        """
        if spans is self._made.get(usual):  # the usual case, for which no text is compared
            return usual
        plain = tuple(evolve(span, by_token=False) if span.by_token else span for span in spans)
        names = [name for name, made in self._made.items() if plain == made]
        return usual if usual in names else next(iter(names), None)

    def _once(self, name: str, make: Callable[[Pair], Sequence[Span]], pair: Pair) -> Sequence[Span]:
        if pair is not self._pair:
            return make(pair)
        if name not in self._made:
            self._made[name] = tuple(make(pair))
        return self._made[name]
