"""From spans to losses, each computed once: the ledger answers what it knows, the rest is encoded,
planned, handed to the student and committed, batch by batch.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from functools import partial

from attrs import asdict, evolve, frozen

from rt_framework.concurrency import Batcher
from rt_framework.errors import ConfigError, OutOfMemory, PluginError, RtError
from rt_framework.ledger import Ledger
from rt_framework.model import digest
from rt_framework.plugin import Tally
from rt_framework.protocols import Executor, SelfDescribingStudent, Student
from rt_framework.scoring.planning import ForwardBatch, plan
from rt_framework.spans import Context, EncodedSpan, Span, SpanLoss

_WAVE = 2048
"""Spans that are planned together: enough to fill batches with what shares a prefix."""


@frozen
class BatchLimits:
    """How the student wants to be fed."""

    batch_tokens: int
    packs: bool
    path: str

    @classmethod
    def of(cls, student: Student) -> BatchLimits:
        """Ask the student; one that does not say gets padded batches of a size that suits most devices."""
        if isinstance(student, SelfDescribingStudent):
            return cls(student.batch_tokens, student.packs, student.path)
        return cls(8192, packs=False, path="the student's own")


class Losses:
    """The losses of one student under one ledger.

    Args:
        fingerprint: the student's identity, part of every key.
        executor: where the student runs.
        ledger: where losses are kept.
        tally: counts.
        batch_tokens: most tokens of a batch; ``None`` leaves it to the student.
    """

    def __init__(
        self, fingerprint: str, executor: Executor, ledger: Ledger, tally: Tally, batch_tokens: int | None
    ) -> None:
        self._fingerprint = fingerprint
        self._executor = executor
        self._ledger = ledger
        self._tally = tally
        self._budget = batch_tokens
        self._shape: BatchLimits | None = None
        self.batches = 0
        """Batches that the student has, or waits for."""
        self._batcher: Batcher[Mapping[str, Span], Mapping[str, SpanLoss]] = Batcher(self._wave, _WAVE, len)

    async def of(self, spans: Sequence[Span]) -> list[SpanLoss]:
        """The loss of each span. What is asked at the same time shares batches, and equal spans are one."""
        keys = [self._key(span) for span in spans]
        wanted = _wanted(zip(keys, spans, strict=True))
        found = self._known(wanted)
        self._tally.reused_losses += sum(key in found for key in keys)
        missing = {key: span for key, span in wanted.items() if key not in found}
        if missing:
            found |= await self._batcher.submit(missing)
        return [found[key] for key in keys]

    def known(self, spans: Sequence[Span]) -> list[SpanLoss | None]:
        """The loss of each span that was computed before; computes nothing."""
        keys = [self._key(span) for span in spans]
        found = self._known(_wanted(zip(keys, spans, strict=True)))
        return [found.get(key) for key in keys]

    async def check(self, spans: Sequence[Span]) -> None:
        """Whether the student can read *spans* at all; asked before anything is paid for.

        Raises:
            ConfigError: it cannot, a tokenizer without a chat template under the preset ``chat`` for one.
            PluginError: it raises.
        """
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
        await self._batcher.close()

    def _key(self, span: Span) -> str:
        texts = [_plain(span.context), span.target, _plain(span.paired_context)]
        return digest([self._fingerprint, *texts, span.join, span.max_tokens, span.count_only])

    def _known(self, wanted: Mapping[str, Span]) -> dict[str, SpanLoss]:
        """What the ledger has of these."""
        found = self._ledger.losses(key for key, span in wanted.items() if not span.by_token)
        return found | self._ledger.token_losses(key for key, span in wanted.items() if span.by_token)

    # --- one wave ---------------------------------------------------------------------------

    async def _wave(self, asked: Sequence[Mapping[str, Span]]) -> AsyncIterator[tuple[int, Mapping[str, SpanLoss]]]:
        """Answers each asker as soon as its last batch is committed, so that its sample goes on meanwhile."""
        answers = _Answers(asked)
        wanted = _wanted(item for one in asked for item in one.items())
        # The wave before may have computed what was still missing when this was asked.
        known = self._known(wanted)
        self._tally.reused_losses += len(known)
        for answer in answers.add(known):
            yield answer
        self._tally.scoring += 1
        try:
            async for losses in self._computed({key: span for key, span in wanted.items() if key not in known}):
                for answer in answers.add(losses):
                    yield answer
        finally:
            self._tally.scoring -= 1

    async def _computed(self, wanted: Mapping[str, Span]) -> AsyncIterator[Mapping[str, SpanLoss]]:
        """Committed losses, batch by batch."""
        if not wanted:
            return
        encoded = await self._executor.run(partial(_encode, tuple(wanted.values())))
        keyed = dict(zip(wanted, encoded, strict=True))
        without = {key: loss for key, one in keyed.items() if (loss := _without_forward(one)) is not None}
        yield await self._committed(without)
        async for losses in self._forwards(
            {key: one for key, one in keyed.items() if isinstance(one, EncodedSpan) and key not in without}
        ):
            yield losses

    async def _forwards(self, spans: Mapping[str, EncodedSpan]) -> AsyncIterator[Mapping[str, SpanLoss]]:
        """The losses of each batch, as they are done."""
        if not spans:
            return
        shape = await self._shaped()
        keys = list(spans)
        running: set[asyncio.Future[Mapping[str, SpanLoss]]] = set()
        try:
            for batch in plan(list(spans.values()), self._most, shape.packs):
                running.add(asyncio.ensure_future(self._forward(batch, keys)))
                # Two more than there are workers: one is committed, one waits its turn.
                while len(running) > self._executor.workers + 1:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        yield task.result()
            for task in asyncio.as_completed(running):
                yield await task
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _shaped(self) -> BatchLimits:
        """The student's shape, noted in the ledger for the manifest."""
        if self._shape is None:
            self._shape = await self._executor.run(BatchLimits.of)
            self._budget = self._budget or self._shape.batch_tokens
            paths = self._ledger.meta("forward_paths") or []
            await self._ledger.set_meta("forward_paths", sorted({*paths, self._shape.path}))
        return self._shape

    def _most(self) -> int:
        assert self._budget is not None
        return self._budget

    async def _forward(self, batch: ForwardBatch, keys: Sequence[str]) -> Mapping[str, SpanLoss]:
        scored = zip(batch.asked, batch.spans, await self._scored(batch), strict=True)
        losses = ((places, _finite(_with_cut(loss, span))) for places, span, loss in scored)
        return await self._committed({keys[at]: loss for places, loss in losses for at in places})

    async def _committed(self, losses: Mapping[str, SpanLoss]) -> Mapping[str, SpanLoss]:
        # A larger device may have room for what did not fit here.
        await self._ledger.put_losses({key: loss for key, loss in losses.items() if loss.status != "oom"})
        return losses

    async def _scored(self, batch: ForwardBatch) -> Sequence[SpanLoss]:
        """One batch; halved as often as memory asks for, down to one sequence."""
        if batch.size > self._most() and len(batch.spans) > 1:
            # Planned before another batch showed that the device has less room.
            return await self._halved(batch)
        self.batches += 1
        try:
            found = await self._executor.run(partial(_score, batch.spans))
        except OutOfMemory as error:
            if len(batch.spans) == 1:
                return [SpanLoss(None, 0, "oom", f"a single sequence does not fit the device: {error}")]
            self._budget = max(1, min(self._most(), batch.size // 2))
            return await self._halved(batch)
        finally:
            self.batches -= 1
        self._tally.forward_passes += 1
        self._tally.forward_tokens += batch.tokens
        self._tally.changed()
        return found

    async def _halved(self, batch: ForwardBatch) -> Sequence[SpanLoss]:
        return [loss for half in batch.halves() for loss in await self._scored(half)]


class _Answers:
    """Collects losses until an asker has all of its own."""

    def __init__(self, asked: Sequence[Mapping[str, Span]]) -> None:
        self._asked = asked
        self._found: dict[str, SpanLoss] = {}
        self._open = [len(one) for one in asked]
        self._askers: dict[str, list[int]] = defaultdict(list)
        for position, one in enumerate(asked):
            for key in one:
                self._askers[key].append(position)

    def add(self, losses: Mapping[str, SpanLoss]) -> Iterator[tuple[int, Mapping[str, SpanLoss]]]:
        """Take losses in; gives the askers that have all of theirs now."""
        self._found.update(losses)
        for key in losses:
            for position in self._askers[key]:
                self._open[position] -= 1
                if not self._open[position]:
                    yield position, {own: self._found[own] for own in self._asked[position]}


def _wanted(spans: Iterable[tuple[str, Span]]) -> dict[str, Span]:
    """Spans by key. One that is asked for with and without its tokens is asked for with them."""
    wanted: dict[str, Span] = {}
    for key, span in spans:
        if key not in wanted or span.by_token:
            wanted[key] = span
    return wanted


def _plain(context: Context | None) -> object:
    return context if context is None or isinstance(context, str) else [asdict(turn) for turn in context]


def _encode(spans: Sequence[Span], student: Student) -> Sequence[EncodedSpan | SpanLoss]:
    return student.encode(spans)


def _score(spans: Sequence[EncodedSpan], student: Student) -> Sequence[SpanLoss]:
    return student.score(spans)


def _without_forward(encoded: EncodedSpan | SpanLoss) -> SpanLoss | None:
    """The loss of what needs no forward pass."""
    if isinstance(encoded, SpanLoss):
        return encoded
    return SpanLoss(None, len(encoded.ids) - encoded.start) if encoded.count_only else None


def _with_cut(loss: SpanLoss, span: EncodedSpan) -> SpanLoss:
    return evolve(loss, cut=span.cut) if span.by_token else loss


def _finite(loss: SpanLoss) -> SpanLoss:
    """A student's NaN never becomes a number."""
    if loss.nll is None or math.isfinite(loss.nll):
        return loss
    return SpanLoss(None, loss.tokens, "nonfinite", f"the student's loss is {loss.nll}")
