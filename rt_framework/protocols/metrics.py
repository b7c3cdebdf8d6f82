"""The protocols of metrics, and of the frame that makes their spans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from rt_framework.model import Pair, Range
from rt_framework.spans import Loss, Span


class Frame(Protocol):
    """The way in which a preset and a template put a pair before the student.

    A run has one frame, so that a name always means the same losses. Each method returns one span for each turn of the
    conversation: one span for a single-turn pair. For a pair without a question or an answer each method raises
    ``Unscorable`` with the status ``empty``.
    """

    def response_given_instruction(self, pair: Pair) -> Sequence[Span]:
        """Return y after x: the conditional pass of IFD. Usual name ``y|x``."""

    def response_alone(self, pair: Pair) -> Sequence[Span]:
        """Return y without x: the direct pass of IFD. Usual name ``y``."""

    def instruction_given_response(self, pair: Pair) -> Sequence[Span]:
        """Return x after g(y): the conditional pass of r-IFD. Usual name ``x|y``."""

    def instruction_alone(self, pair: Pair) -> Sequence[Span]:
        """Return x without y: the direct pass of r-IFD. Usual name ``x``."""

    def response_length(self, pair: Pair) -> Sequence[Span]:
        """Return y to be counted only, without a forward pass. Usual name ``len(y)``."""


class MetricSpans(Protocol):
    """The members that every metric has."""

    direction: str
    """Better side of the values: ``higher`` or ``lower``; ``none`` for a measure without a better side."""
    valid: Range
    """Range of valid values; a value outside cannot win a choice."""

    def spans(self, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]]:
        """Return the spans whose losses the metric needs, by name. Pure."""


class Metric(MetricSpans, Protocol):
    """A metric that is pure arithmetic on losses."""

    def reduce(self, losses: Mapping[str, Loss]) -> float:
        """Return the value, from losses of the same names that all have a number. Pure."""


@runtime_checkable
class TextMetric(Protocol):
    """A metric of the texts alone, which needs no student."""

    direction: str
    """Better side of the values: ``higher`` or ``lower``; ``none`` for a measure without a better side."""
    valid: Range
    """Range of valid values; a value outside cannot win a choice."""

    def value(self, pair: Pair) -> float:
        """Return the value of a pair. Pure.

        Raises:
            Unscorable: the pair has no value.
        """


@runtime_checkable
class FittedMetric(MetricSpans, Protocol):
    """A metric with constants that come from the whole data set, such as a threshold or a mean.

    It has values only where all samples are at hand: in a stage over the data set, and in ``rt score``.
    """

    def fit(self, losses: Iterable[Mapping[str, Loss]]) -> Metric:
        """Return the metric with its constants, from the losses of every pair that has them, read one pair at a time.

        Pure, and independent of the order of the pairs.
        """
