"""The student's chain: metrics declare spans, the ledger answers what it knows, the rest is planned,
scored and committed, and the metrics reduce.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial

from attrs import asdict, frozen

from rt_framework.batching import Batcher
from rt_framework.errors import ConfigError, OutOfMemory, PluginError, RtError, Unscorable
from rt_framework.ledger import Ledger
from rt_framework.model import EncodedSpan, Loss, Pair, Score, Span, SpanLoss, digest, total
from rt_framework.plan import Batch, plan
from rt_framework.protocols import Executor, Frame, Metric, SizedStudent, Student
from rt_framework.tally import Tally

_BATCH_TOKENS = 8192
"""Most tokens of a padded batch where neither the config nor the student says."""

_WAVE = 512
"""Spans that are planned together: enough to fill batches of like length."""


@frozen
class Measured:
    """The losses and scores of one pair."""

    losses: Mapping[str, Loss]
    scores: Mapping[str, Score]


class Scoring:
    """Scores pairs by metric, each loss computed once.

    Args:
        metrics: a metric by name.
        frame: how pairs are put before the student.
        fingerprint: the student's identity, part of every key.
        executor: where the student runs.
        ledger: where losses are kept.
        tally: counts.
        batch_tokens: most tokens of a padded batch; ``None`` leaves it to the student.
        range_binds: whether a value outside a metric's valid range loses every choice.
    """

    def __init__(
        self,
        metrics: Callable[[str], Metric],
        frame: Frame,
        fingerprint: str,
        executor: Executor,
        ledger: Ledger,
        tally: Tally,
        batch_tokens: int | None,
        range_binds: bool,
    ) -> None:
        self._metrics = metrics
        self._frame = frame
        self._fingerprint = fingerprint
        self._executor = executor
        self._ledger = ledger
        self._tally = tally
        self._batch_tokens = batch_tokens
        self._range_binds = range_binds
        self._flights: dict[str, asyncio.Task[SpanLoss]] = {}
        self._batcher: Batcher[Span, SpanLoss] = Batcher(self._compute, _WAVE)

    async def score(self, pairs: Sequence[Pair], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Scores of each pair, by metric; what is asked together is batched together."""
        measured = await asyncio.gather(*(self.measure(pair, metrics) for pair in pairs))
        return [dict(one.scores) for one in measured]

    async def measure(self, pair: Pair, metrics: Sequence[str]) -> Measured:
        """Losses by span name and scores by metric of one pair."""
        asked = {name: _declared(name, self._metrics(name), pair, self._frame) for name in metrics}
        spans = {
            name: turns for one in asked.values() if not isinstance(one, Unscorable) for name, turns in one.items()
        }
        losses = dict(zip(spans, await asyncio.gather(*map(self._turns, spans.values())), strict=True))
        return Measured(losses, {name: self._reduce(name, one, losses) for name, one in asked.items()})

    async def check(self, pair: Pair, metrics: Sequence[str]) -> None:
        """Whether the student can read a plain pair at all; asked before anything is paid for.

        Raises:
            ConfigError: it cannot, a tokenizer without a chat template under the preset ``chat`` for one.
            PluginError: it raises.
        """
        asked = [_declared(name, self._metrics(name), pair, self._frame) for name in metrics]
        spans = [span for one in asked if not isinstance(one, Unscorable) for turns in one.values() for span in turns]
        try:
            found = await self._executor.run(partial(_encode, tuple(spans)))
        except RtError:
            raise
        except Exception as error:
            raise PluginError(f"the student cannot encode: {type(error).__name__}: {error}") from error
        for encoded in found:
            if isinstance(encoded, SpanLoss):
                raise ConfigError(f"the student cannot score with this preset and template: {encoded.reason}")

    async def close(self) -> None:
        """Stop what nobody waits for any more."""
        for task in self._flights.values():
            task.cancel()
        await asyncio.gather(*self._flights.values(), return_exceptions=True)
        await self._batcher.close()

    # --- one loss ---------------------------------------------------------------------------

    async def _turns(self, spans: Sequence[Span]) -> Loss:
        return total(await asyncio.gather(*map(self._loss, spans)))

    async def _loss(self, span: Span) -> SpanLoss:
        key = digest([self._fingerprint, asdict(span)])
        known = self._ledger.losses([key]).get(key)
        if known is not None:
            self._tally.reused_losses += 1
            return known
        if key not in self._flights:
            self._flights[key] = asyncio.create_task(self._computed(key, span))
            self._flights[key].add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(self._flights[key])

    async def _computed(self, key: str, span: Span) -> SpanLoss:
        loss = await self._batcher.submit(span)
        if loss.status != "oom":  # a larger device may have room for it
            await self._ledger.put_losses({key: loss})
        return loss

    # --- one wave of losses -----------------------------------------------------------------

    async def _compute(self, spans: Sequence[Span]) -> AsyncIterator[tuple[int, SpanLoss]]:
        """Each loss as soon as its batch is done, so that it is committed and its sample goes on."""
        encoded = await self._executor.run(partial(_encode, tuple(spans)))
        wanted: list[tuple[int, EncodedSpan]] = []
        for position, one in enumerate(encoded):
            if isinstance(one, SpanLoss):
                yield position, one
            elif one.count_only:
                yield position, SpanLoss(None, len(one.ids) - one.start)
            else:
                wanted.append((position, one))
        budget = self._batch_tokens
        if budget is None:
            budget = await self._executor.run(_preferred)
        for batch in plan([one for _, one in wanted], budget):
            for asked, loss in zip(batch.asked, await self._forward(batch), strict=True):
                for index in asked:
                    yield wanted[index][0], loss

    async def _forward(self, batch: Batch) -> Sequence[SpanLoss]:
        """One batch; halved as often as memory asks for, down to one sequence."""
        try:
            found = await self._executor.run(partial(_score, batch.spans))
        except OutOfMemory as error:
            if len(batch.spans) == 1:
                return [SpanLoss(None, 0, "oom", f"a single sequence does not fit the device: {error}")]
            return [loss for half in batch.halves() for loss in await self._forward(half)]
        self._tally.forward_passes += 1
        self._tally.forward_tokens += batch.tokens
        self._tally.changed()
        return [_finite(loss) for loss in found]

    # --- one score --------------------------------------------------------------------------

    def _reduce(self, name: str, asked: Mapping[str, Sequence[Span]] | Unscorable, losses: Mapping[str, Loss]) -> Score:
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


def _declared(name: str, metric: Metric, pair: Pair, frame: Frame) -> Mapping[str, Sequence[Span]] | Unscorable:
    try:
        return metric.spans(pair, frame)
    except Unscorable as error:
        return error
    except Exception as error:
        raise PluginError(f"metric '{name}' failed in spans: {type(error).__name__}: {error}") from error


def _encode(spans: Sequence[Span], student: Student) -> Sequence[EncodedSpan | SpanLoss]:
    return student.encode(spans)


def _preferred(student: Student) -> int:
    return student.batch_tokens if isinstance(student, SizedStudent) else _BATCH_TOKENS


def _score(spans: Sequence[EncodedSpan], student: Student) -> Sequence[SpanLoss]:
    return student.score(spans)


def _finite(loss: SpanLoss) -> SpanLoss:
    """A student's NaN never becomes a number."""
    if loss.nll is None or math.isfinite(loss.nll):
        return loss
    return SpanLoss(None, loss.tokens, "nonfinite", f"the student's loss is {loss.nll}")
