"""From metrics to scores: metrics declare spans, the student's losses are looked up or computed, metrics reduce."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from rt_framework.errors import PluginError, Unscorable
from rt_framework.losses import Losses
from rt_framework.model import Loss, Pair, Score, Span, total
from rt_framework.protocols import Frame, Metric

Declared = Mapping[str, Sequence[Span]] | Unscorable
"""What a metric reads of a pair, or why it cannot."""


@frozen
class Measured:
    """The losses and scores of one pair."""

    losses: Mapping[str, Loss]
    scores: Mapping[str, Score]


class Scoring:
    """Scores pairs by metric.

    Args:
        metrics: a metric by name.
        frame: how pairs are put before the student.
        losses: the student's losses.
        range_binds: whether a value outside a metric's valid range loses every choice.
    """

    def __init__(self, metrics: Callable[[str], Metric], frame: Frame, losses: Losses, range_binds: bool) -> None:
        self._metrics = metrics
        self._frame = frame
        self._losses = losses
        self._range_binds = range_binds

    async def score(self, pairs: Sequence[Pair], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Scores of each pair, by metric; what is asked together is batched together."""
        return [dict(one.scores) for one in await self.measure(pairs, metrics)]

    async def measure(self, pairs: Sequence[Pair], metrics: Sequence[str]) -> list[Measured]:
        """Losses by span name and scores by metric of each pair."""
        asked = [self._declared(pair, metrics) for pair in pairs]
        spans = [_spans(one) for one in asked]
        found = iter(await self._losses.of([span for one in spans for turns in one.values() for span in turns]))
        measured = []
        for one, named in zip(asked, spans, strict=True):
            losses = {name: total([next(found) for _ in turns]) for name, turns in named.items()}
            measured.append(Measured(losses, {name: self._reduce(name, own, losses) for name, own in one.items()}))
        return measured

    async def check(self, pair: Pair, metrics: Sequence[str]) -> None:
        """Whether the student can read a plain pair at all; asked before anything is paid for.

        Raises:
            ConfigError: it cannot, a tokenizer without a chat template under the preset ``chat`` for one.
            PluginError: it raises.
        """
        spans = _spans(self._declared(pair, metrics))
        await self._losses.check([span for turns in spans.values() for span in turns])

    def _declared(self, pair: Pair, metrics: Sequence[str]) -> dict[str, Declared]:
        return {name: _declared(name, self._metrics(name), pair, self._frame) for name in metrics}

    # --- one score --------------------------------------------------------------------------

    def _reduce(self, name: str, asked: Declared, losses: Mapping[str, Loss]) -> Score:
        if isinstance(asked, Unscorable):
            return Score(None, asked.status, asked.reason)
        mine = {span: losses[span] for span in asked}
        bad = next(((span, loss) for span, loss in mine.items() if loss.status != "ok"), None)
        if bad is not None:
            return Score(None, bad[1].status, f"{bad[0]}: {bad[1].reason}")
        metric = self._metrics(name)
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
    """All spans by name; metrics that read the same loss name the same span."""
    declared = (one for one in asked.values() if not isinstance(one, Unscorable))
    return {name: turns for one in declared for name, turns in one.items()}


def _declared(name: str, metric: Metric, pair: Pair, frame: Frame) -> Declared:
    try:
        return metric.spans(pair, frame)
    except Unscorable as error:
        return error
    except Exception as error:
        raise PluginError(f"metric '{name}' failed in spans: {type(error).__name__}: {error}") from error
