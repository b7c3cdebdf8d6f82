"""Computation of scores by metric.

A metric declares spans, the student's losses for them are looked up or computed, and the metric reduces these to a
number.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TypeGuard

from attrs import frozen

from rt_framework.errors import PluginError, RtError, Unscorable, described
from rt_framework.model import Pair, Range, Score
from rt_framework.protocols import FittedMetric, Frame, Metric, TextMetric
from rt_framework.scoring.losses import Losses
from rt_framework.scoring.pair_frame import PairFrame
from rt_framework.scoring.request import SpansByName
from rt_framework.spans import Loss, Span

_WAVE = 1024
"""Number of pairs whose losses are asked for together before a metric is fitted."""


@frozen
class _Reading:
    """A loss that a metric reads."""

    loss: str
    by_token: bool


@frozen
class _Declared:
    """The spans that some metrics declare for one pair, each under the name of its loss.

    A name is the frame's where the spans are the frame's own, so that all metrics share them, else ``metric/name``: a
    metric never reads the losses of spans that another one has made.
    """

    spans: SpansByName
    by_metric: Mapping[str, Mapping[str, _Reading] | Unscorable]
    """By metric: the loss that is read under each name that the metric gives; or the reason why there is no score."""


@frozen
class Measured:
    """The losses and scores of one pair."""

    losses: Mapping[str, Loss]
    scores: Mapping[str, Score]


AnyMetric = Metric | FittedMetric | TextMetric


@frozen
class _Known:
    """A metric, and the kind that it is of."""

    metric: AnyMetric
    reads_texts: bool
    is_fitted: bool


class Scoring:
    """The scoring of pairs by any number of metrics.

    A name such as ``ifd@base`` is the metric ``ifd`` by the losses of the student ``base``.

    Args:
        metrics: returns a metric by its name, without a student's.
        frame: makes the spans of a pair, by the rules of the preset.
        losses: the losses of each student, by its name; the empty name is the main student's.
        range_binds: True if a value outside a metric's valid range gets the status ``out_of_range``, with which it
            never wins a choice.
    """

    def __init__(
        self, metrics: Callable[[str], AnyMetric], frame: Frame, losses: Mapping[str, Losses], range_binds: bool
    ) -> None:
        self._metrics = metrics
        self._by_name: dict[str, _Known] = {}
        self._fitted: dict[str, Metric] = {}
        self.frame = frame
        self._losses = losses
        self._range_binds = range_binds

    async def score(self, pairs: Sequence[Pair], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return the scores of each pair, by metric; pairs that are asked for together are batched together."""
        return [dict(measured.scores) for measured in await self.measure(pairs, metrics)]

    async def measure(self, pairs: Sequence[Pair], metrics: Sequence[str]) -> list[Measured]:
        """Return the losses and the scores by metric of each pair.

        Losses of the frame's own spans have the frame's names, such as ``y|x``; others are called ``metric/name``. The
        losses of a named student have its name behind theirs: ``y|x@base``.
        """
        if not metrics:
            return [Measured({}, {}) for _ in pairs]
        frames = [PairFrame(self.frame, pair) for pair in pairs]
        by_student: dict[str, list[str]] = {}
        for name in metrics:
            by_student.setdefault(student_of(name), []).append(name)
        if len(by_student) == 1:  # the usual case, without a task of its own
            return await self._measured(pairs, frames, *next(iter(by_student.items())))
        groups = await asyncio.gather(
            *(self._measured(pairs, frames, student, names) for student, names in by_student.items())
        )
        return [
            Measured(
                {name: loss for part in parts for name, loss in part.losses.items()},
                {name: score for name in metrics for part in parts if (score := part.scores.get(name)) is not None},
            )
            for parts in zip(*groups, strict=True)
        ]

    async def _measured(
        self, pairs: Sequence[Pair], frames: Sequence[PairFrame], student: str, metrics: Sequence[str]
    ) -> list[Measured]:
        """Return the losses of one student, and the scores of the metrics that read them."""
        declared = [self._declared(pair, frame, metrics) for pair, frame in zip(pairs, frames, strict=True)]
        losses: Sequence[Mapping[str, Loss]] = [{} for _ in pairs]
        if any(own.spans for own in declared):
            losses = await self._losses_of(student).of([own.spans for own in declared])
        behind = f"@{student}" if student else ""
        return [
            Measured(
                {f"{name}{behind}": loss for name, loss in by_name.items()},
                {metric: self._score(metric, pair, read, by_name) for metric, read in own.by_metric.items()},
            )
            for pair, own, by_name in zip(pairs, declared, losses, strict=True)
        ]

    def _losses_of(self, student: str) -> Losses:
        if student not in self._losses:
            named = f"the student '{student}', which is not configured" if student else "a student; add 'student:'"
            raise RtError(f"a metric reads losses of {named}")
        return self._losses[student]

    def _metric(self, name: str) -> AnyMetric:
        return self._known(name).metric

    def _known(self, name: str) -> _Known:
        # Each pair asks, and the protocols of metrics take long to check.
        if name not in self._by_name:
            metric = self._metrics(name.partition("@")[0])
            self._by_name[name] = _Known(metric, reads_texts_alone(metric), isinstance(metric, FittedMetric))
        return self._by_name[name]

    async def fit(self, metrics: Sequence[str], pairs: Callable[[], Iterable[Pair]]) -> list[str]:
        """Fit the metrics whose constants come from the whole data set, and return their names.

        Args:
            metrics: names of metrics.
            pairs: returns all pairs of the data set; called several times.

        Raises:
            PluginError: a metric cannot be fitted.
        """
        by_name = {name: self._metric(name) for name in metrics}
        fitting = {name: metric for name, metric in by_name.items() if isinstance(metric, FittedMetric)}
        for name, metric in fitting.items():
            unscored = iter(pairs())
            while wave := list(islice(unscored, _WAVE)):
                await self.measure(wave, [name])
            try:
                self._fitted[name] = metric.fit(self._computed(name, pairs()))
            except Exception as error:
                raise PluginError(f"metric '{name}' cannot be fitted: {described(error)}") from error
        return list(fitting)

    async def check(self, pair: Pair, metrics: Sequence[str]) -> None:
        """Check that the student can encode a plain pair at all, before anything is paid for.

        Raises:
            ConfigError: it cannot, for example because the preset is ``chat`` and the tokenizer has no chat template.
            PluginError: the student or a metric raises another exception.
        """
        for student in dict.fromkeys(map(student_of, metrics)):
            names = [name for name in metrics if student_of(name) == student]
            spans = self._declared(pair, PairFrame(self.frame, pair), names).spans
            if spans:
                await self._losses_of(student).check(spans)

    def _declared(self, pair: Pair, frame: PairFrame, metrics: Sequence[str]) -> _Declared:
        spans: dict[str, Sequence[Span]] = {}
        by_metric: dict[str, Mapping[str, _Reading] | Unscorable] = {}
        for metric in metrics:
            own = _spans_of(metric, self._known(metric), pair, frame)
            if isinstance(own, Unscorable):
                by_metric[metric] = own
                continue
            read: dict[str, _Reading] = {}
            for name, turns in own.items():
                loss, by_token = frame.name_of(turns, name) or f"{metric}/{name}", any(span.by_token for span in turns)
                read[name] = _Reading(loss, by_token)
                # Of the frame's spans those that ask for losses by token are kept, since they serve the others too.
                if by_token or loss not in spans:
                    spans[loss] = turns
            by_metric[metric] = read
        return _Declared(spans, by_metric)

    def _computed(self, metric: str, pairs: Iterable[Pair]) -> Iterator[Mapping[str, Loss]]:
        """Yield the losses that one metric reads of each pair for which all are in the ledger; compute nothing."""
        for pair in pairs:
            declared = self._declared(pair, PairFrame(self.frame, pair), [metric])
            readings = declared.by_metric[metric]
            losses = self._losses_of(student_of(metric)).known(declared.spans)
            if isinstance(readings, Unscorable) or not losses:
                continue
            if all(loss.status == "ok" for loss in losses.values()):
                yield {name: losses[reading.loss] for name, reading in readings.items()}

    # --- one score --------------------------------------------------------------------------

    def _score(
        self, name: str, pair: Pair, readings: Mapping[str, _Reading] | Unscorable, losses: Mapping[str, Loss]
    ) -> Score:
        if isinstance(readings, Unscorable):
            return Score(None, readings.status, readings.reason)
        known = self._known(name)
        metric = self._fitted.get(name) or known.metric
        if known.reads_texts:
            return self._value(name, metric.valid, "value", partial(metric.value, pair))  # type: ignore[union-attr]
        own = {span: losses[reading.loss] for span, reading in readings.items()}
        for span, loss in own.items():
            if loss.status != "ok":
                return Score(None, loss.status, f"{span}: {loss.reason}")
        if known.is_fitted and name not in self._fitted:
            return Score(None, "not_fitted", f"{name} is fitted to the whole data set first")
        tokenless = next((span for span, read in readings.items() if read.by_token and not own[span].has_tokens), None)
        if tokenless is not None:
            return Score(None, "no_token_losses", f"{tokenless}: this student gives no losses of single tokens")
        reduce = partial(metric.reduce, own)  # type: ignore[union-attr]
        return self._value(name, metric.valid, "reduce", reduce)

    def _value(self, name: str, valid: Range, method: str, compute: Callable[[], float]) -> Score:
        """Return the value that a metric computes as a score, or why there is none."""
        try:
            value = float(compute())
        except Unscorable as error:
            return Score(None, error.status, error.reason)
        except (OverflowError, ZeroDivisionError) as error:
            return Score(None, "nonfinite", f"{name}: {error}")
        except Exception as error:
            raise PluginError(f"metric '{name}' failed in {method}: {described(error)}") from error
        if not math.isfinite(value):
            return Score(None, "nonfinite", f"{name} is {value}")
        if self._range_binds and value not in valid:
            return Score(value, "out_of_range", f"not {valid}")
        return Score(value)


def reads_texts_alone(metric: object) -> TypeGuard[TextMetric]:
    """Return whether a metric needs no student. One that declares spans does, whatever else it offers."""
    return isinstance(metric, TextMetric) and not hasattr(metric, "spans")


def student_of(metric: str) -> str:
    """Return the name of the student behind a metric's name: ``base`` for ``ifd@base``, empty for ``ifd``."""
    return metric.partition("@")[2]


def _spans_of(name: str, known: _Known, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]] | Unscorable:
    if known.reads_texts:
        return {}
    try:
        return known.metric.spans(pair, frame)  # type: ignore[union-attr]
    except Unscorable as error:
        return error
    except Exception as error:
        raise PluginError(f"metric '{name}' failed in spans: {described(error)}") from error
