"""Computation of scores by metric.

A metric declares spans, the student's losses for them are looked up or computed, and the metric reduces these to a
number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from attrs import frozen

from rt_framework.errors import PluginError, Unscorable, described
from rt_framework.model import Pair, Score
from rt_framework.protocols import FittedMetric, Frame, Metric
from rt_framework.scoring.losses import Losses
from rt_framework.scoring.request import SpansByName
from rt_framework.spans import Loss, Span

_WAVE = 1024
"""Number of pairs whose losses are asked for together before a metric is fitted."""

Declared = SpansByName | Unscorable
"""Spans that a metric declares for a pair, by name, or the reason why the pair cannot be scored."""


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
        """Return the losses by span name and the scores by metric of each pair."""
        declared = [self._declared(pair, metrics) for pair in pairs]
        losses = await self._losses.of([_spans(by_metric) for by_metric in declared])
        return [
            Measured(by_name, {metric: self._reduce(metric, spans, by_name) for metric, spans in by_metric.items()})
            for by_metric, by_name in zip(declared, losses, strict=True)
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
                raise PluginError(f"metric '{name}' cannot be fitted: {described(error)}") from error
        return list(fitting)

    async def check(self, pair: Pair, metrics: Sequence[str]) -> None:
        """Check that the student can encode a plain pair at all, before anything is paid for.

        Raises:
            ConfigError: it cannot, for example because the preset is ``chat`` and the tokenizer has no chat template.
            PluginError: the student or a metric raises another exception.
        """
        await self._losses.check(_spans(self._declared(pair, metrics)))

    def _declared(self, pair: Pair, metrics: Sequence[str]) -> dict[str, Declared]:
        return {name: _declared(name, self._metric(name), pair, self._frame) for name in metrics}

    def _computed(self, name: str, pairs: Iterable[Pair]) -> Iterator[Mapping[str, Loss]]:
        """Yield the losses that one metric reads of each pair for which all are in the ledger; compute nothing."""
        for pair in pairs:
            losses = self._losses.known(_spans(self._declared(pair, [name])))
            if losses and all(loss.status == "ok" for loss in losses.values()):
                yield losses

    # --- one score --------------------------------------------------------------------------

    def _reduce(self, name: str, declared: Declared, losses: Mapping[str, Loss]) -> Score:
        if isinstance(declared, Unscorable):
            return Score(None, declared.status, declared.reason)
        own = {span: losses[span] for span in declared}
        for span, loss in own.items():
            if loss.status != "ok":
                return Score(None, loss.status, f"{span}: {loss.reason}")
        metric = self._fitted.get(name) or self._metric(name)
        if isinstance(metric, FittedMetric):
            return Score(None, "not_fitted", f"{name} is fitted to the whole data set first")
        by_token = [span for span, turns in declared.items() if _by_token(turns)]
        tokenless = next((span for span in by_token if not own[span].has_tokens), None)
        if tokenless is not None:
            return Score(None, "no_token_losses", f"{tokenless}: this student gives no losses of single tokens")
        try:
            value = float(metric.reduce(own))
        except (OverflowError, ZeroDivisionError) as error:
            return Score(None, "nonfinite", f"{name}: {error}")
        except Exception as error:
            raise PluginError(f"metric '{name}' failed in reduce: {described(error)}") from error
        if not math.isfinite(value):
            return Score(None, "nonfinite", f"{name} is {value}")
        if self._range_binds and value not in metric.valid:
            return Score(value, "out_of_range", f"not {metric.valid}")
        return Score(value)


def _spans(declared: Mapping[str, Declared]) -> SpansByName:
    """Return the spans of all metrics by name.

    Metrics that read the same loss declare a span of the same name. If one of them wants the losses of each token, its
    spans are kept, since they serve the others too.
    """
    spans: dict[str, Sequence[Span]] = {}
    for by_name in declared.values():
        for name, turns in {} if isinstance(by_name, Unscorable) else by_name.items():
            if name not in spans or _by_token(turns):
                spans[name] = turns
    return spans


def _by_token(turns: Sequence[Span]) -> bool:
    return any(span.by_token for span in turns)


def _declared(name: str, metric: Metric | FittedMetric, pair: Pair, frame: Frame) -> Declared:
    try:
        return metric.spans(pair, frame)
    except Unscorable as error:
        return error
    except Exception as error:
        raise PluginError(f"metric '{name}' failed in spans: {described(error)}") from error
