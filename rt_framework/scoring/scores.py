"""Computation of scores by metric.

A metric declares spans, the student's losses for them are looked up or computed, and the metric reduces these to a
number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from attrs import frozen

from rt_framework.errors import PluginError, Unscorable
from rt_framework.model import Pair, Score
from rt_framework.protocols import FittedMetric, Frame, Metric
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


class Scoring:
    """The scoring of pairs by any number of metrics.

    Args:
        metrics: returns a metric by its name.
        frame: makes the spans of a pair, by the rules of the preset.
        losses: the student's losses.
        range_binds: True if a value outside a metric's valid range gets the status ``out_of_range``, with which it
            never wins a choice.
    """

    def __init__(
        self, metrics: Callable[[str], Metric | FittedMetric], frame: Frame, losses: Losses, range_binds: bool
    ) -> None:
        self._metric = metrics
        self._fitted: dict[str, Metric] = {}
        self._frame = frame
        self._losses = losses
        self._range_binds = range_binds

    async def score(self, pairs: Sequence[Pair], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return the scores of each pair, by metric; pairs that are asked for together are batched together."""
        return [dict(measured.scores) for measured in await self.measure(pairs, metrics)]

    async def measure(self, pairs: Sequence[Pair], metrics: Sequence[str]) -> list[Measured]:
        """Return the losses and the scores by metric of each pair.

        Losses of the frame's own spans have the frame's names, such as ``y|x``; others are called ``metric/name``.
        """
        declared = [self._declared(pair, metrics) for pair in pairs]
        losses = await self._losses.of([own.spans for own in declared])
        return [
            Measured(by_name, {metric: self._reduce(metric, read, by_name) for metric, read in own.by_metric.items()})
            for own, by_name in zip(declared, losses, strict=True)
        ]

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
                raise PluginError(f"metric '{name}' cannot be fitted: {type(error).__name__}: {error}") from error
        return list(fitting)

    async def check(self, pair: Pair, metrics: Sequence[str]) -> None:
        """Check that the student can encode a plain pair at all, before anything is paid for.

        Raises:
            ConfigError: it cannot, for example because the preset is ``chat`` and the tokenizer has no chat template.
            PluginError: the student or a metric raises another exception.
        """
        await self._losses.check(self._declared(pair, metrics).spans)

    def _declared(self, pair: Pair, metrics: Sequence[str]) -> _Declared:
        frame = PairFrame(self._frame, pair)
        spans: dict[str, Sequence[Span]] = {}
        by_metric: dict[str, Mapping[str, _Reading] | Unscorable] = {}
        for metric in metrics:
            own = _spans_of(metric, self._metric(metric), pair, frame)
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
            declared = self._declared(pair, [metric])
            readings, losses = declared.by_metric[metric], self._losses.known(declared.spans)
            if isinstance(readings, Unscorable) or not losses:
                continue
            if all(loss.status == "ok" for loss in losses.values()):
                yield {name: losses[reading.loss] for name, reading in readings.items()}

    # --- one score --------------------------------------------------------------------------

    def _reduce(self, name: str, readings: Mapping[str, _Reading] | Unscorable, losses: Mapping[str, Loss]) -> Score:
        if isinstance(readings, Unscorable):
            return Score(None, readings.status, readings.reason)
        own = {span: losses[reading.loss] for span, reading in readings.items()}
        for span, loss in own.items():
            if loss.status != "ok":
                return Score(None, loss.status, f"{span}: {loss.reason}")
        metric = self._fitted.get(name) or self._metric(name)
        if isinstance(metric, FittedMetric):
            return Score(None, "not_fitted", f"{name} is fitted to the whole data set first")
        tokenless = next((span for span, read in readings.items() if read.by_token and not own[span].has_tokens), None)
        if tokenless is not None:
            return Score(None, "no_token_losses", f"{tokenless}: this student gives no losses of single tokens")
        try:
            value = float(metric.reduce(own))
        except (OverflowError, ZeroDivisionError) as error:
            return Score(None, "nonfinite", f"{name}: {error}")
        except Exception as error:
            raise PluginError(f"metric '{name}' failed in reduce: {type(error).__name__}: {error}") from error
        if not math.isfinite(value):
            return Score(None, "nonfinite", f"{name} is {value}")
        if self._range_binds and value not in metric.valid:
            return Score(value, "out_of_range", f"not {metric.valid}")
        return Score(value)


def _spans_of(
    name: str, metric: Metric | FittedMetric, pair: Pair, frame: Frame
) -> Mapping[str, Sequence[Span]] | Unscorable:
    try:
        return metric.spans(pair, frame)
    except Unscorable as error:
        return error
    except Exception as error:
        raise PluginError(f"metric '{name}' failed in spans: {type(error).__name__}: {error}") from error
