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
from rt_framework.spans import Loss, Span, total

_WAVE = 1024
"""Number of pairs whose losses are asked for together before a metric is fitted."""

Declared = Mapping[str, Sequence[Span]] | Unscorable
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
        self._made = metrics
        self._fitted: dict[str, Metric] = {}
        self._frame = frame
        self._losses = losses
        self._range_binds = range_binds

    async def score(self, pairs: Sequence[Pair], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return the scores of each pair, by metric; pairs that are asked for together are batched together."""
        return [dict(one.scores) for one in await self.measure(pairs, metrics)]

    async def measure(self, pairs: Sequence[Pair], metrics: Sequence[str]) -> list[Measured]:
        """Return the losses by span name and the scores by metric of each pair."""
        asked = [self._declared(pair, metrics) for pair in pairs]
        spans = [_spans(one) for one in asked]
        found = iter(await self._losses.of([span for one in spans for turns in one.values() for span in turns]))
        measured = []
        for one, named in zip(asked, spans, strict=True):
            losses = {name: total([next(found) for _ in turns]) for name, turns in named.items()}
            measured.append(Measured(losses, {name: self._reduce(name, own, losses) for name, own in one.items()}))
        return measured

    async def fit(self, metrics: Sequence[str], pairs: Callable[[], Iterable[Pair]]) -> list[str]:
        """Fit the metrics whose constants come from the whole data set, and return their names.

        Args:
            metrics: names of metrics.
            pairs: returns all pairs of the data set; called several times.

        Raises:
            PluginError: a metric cannot be fitted.
        """
        made = {name: self._made(name) for name in metrics}
        fitting = {name: metric for name, metric in made.items() if isinstance(metric, FittedMetric)}
        for name, metric in fitting.items():
            every = iter(pairs())
            while wave := list(islice(every, _WAVE)):
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
        spans = _spans(self._declared(pair, metrics))
        await self._losses.check([span for turns in spans.values() for span in turns])

    def _declared(self, pair: Pair, metrics: Sequence[str]) -> dict[str, Declared]:
        return {name: _declared(name, self._made(name), pair, self._frame) for name in metrics}

    def _computed(self, name: str, pairs: Iterable[Pair]) -> Iterator[Mapping[str, Loss]]:
        """Yield the losses that one metric reads of each pair for which all are in the ledger; compute nothing."""
        for pair in pairs:
            named = _spans(self._declared(pair, [name]))
            found = self._losses.known([span for turns in named.values() for span in turns])
            if named and all(loss is not None and loss.status == "ok" for loss in found):
                losses = iter(loss for loss in found if loss is not None)
                yield {span: total([next(losses) for _ in turns]) for span, turns in named.items()}

    # --- one score --------------------------------------------------------------------------

    def _reduce(self, name: str, asked: Declared, losses: Mapping[str, Loss]) -> Score:
        if isinstance(asked, Unscorable):
            return Score(None, asked.status, asked.reason)
        mine = {span: losses[span] for span in asked}
        bad = next(((span, loss) for span, loss in mine.items() if loss.status != "ok"), None)
        if bad is not None:
            return Score(None, bad[1].status, f"{bad[0]}: {bad[1].reason}")
        metric = self._fitted.get(name) or self._made(name)
        if isinstance(metric, FittedMetric):
            return Score(None, "not_fitted", f"{name} is fitted to the whole data set first")
        by_token = [span for span, turns in asked.items() if _by_token(turns)]
        tokenless = next((span for span in by_token if not mine[span].has_tokens), None)
        if tokenless is not None:
            return Score(None, "no_token_losses", f"{tokenless}: this student gives no losses of single tokens")
        try:
            value = float(metric.reduce(mine))
        except (OverflowError, ZeroDivisionError) as error:
            return Score(None, "nonfinite", f"{name}: {error}")
        except Exception as error:
            raise PluginError(f"metric '{name}' failed in reduce: {type(error).__name__}: {error}") from error
        if not math.isfinite(value):
            return Score(None, "nonfinite", f"{name} is {value}")
        if self._range_binds and value not in metric.valid:
            return Score(value, "out_of_range", f"not {metric.valid}")
        return Score(value)


def _spans(asked: Mapping[str, Declared]) -> dict[str, Sequence[Span]]:
    """Return the spans of all metrics by name.

    Metrics that read the same loss declare a span of the same name. If one of them wants the losses of each token, its
    spans are kept, since they serve the others too.
    """
    spans: dict[str, Sequence[Span]] = {}
    for one in asked.values():
        for name, turns in {} if isinstance(one, Unscorable) else one.items():
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
        raise PluginError(f"metric '{name}' failed in spans: {type(error).__name__}: {error}") from error
