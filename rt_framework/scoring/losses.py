"""Computation of the losses of spans, each computed once.

Losses that the ledger holds are looked up. The other spans are encoded, planned into batches, run through the student
and committed to the ledger, batch by batch.
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
from rt_framework.events import StudentCounts
from rt_framework.ledger import Ledger
from rt_framework.model import digest
from rt_framework.protocols import Executor, SelfDescribingStudent, Student
from rt_framework.scoring.planning import ForwardBatch, plan
from rt_framework.spans import Context, EncodedSpan, Span, SpanLoss

_WAVE = 2048
"""Number of spans that are planned together: enough to fill batches with spans that share a prefix."""


@frozen
class BatchLimits:
    """The size and form of the batches that a student takes, and the name of its way through the forward pass."""

    batch_tokens: int
    packs: bool
    path: str

    @classmethod
    def of(cls, student: Student) -> BatchLimits:
        """Return the limits that the student declares, or else padded batches of a size that suits most devices."""
        if isinstance(student, SelfDescribingStudent):
            return cls(student.batch_tokens, student.packs, student.path)
        return cls(8192, packs=False, path="the student's own")


class StudentCounter:
    """Plain counters of forward passes and losses of one process; nothing depends on their values."""

    def __init__(self) -> None:
        self.tokens = 0
        self.passes = 0
        self.reused = 0


class Losses:
    """The losses of one student, looked up in one ledger or computed.

    Args:
        fingerprint: the student's identity, part of every key.
        executor: where the student runs.
        ledger: where losses are kept.
        batch_tokens: most tokens of a batch; ``None`` for the student's own limit.
    """

    def __init__(self, fingerprint: str, executor: Executor, ledger: Ledger, batch_tokens: int | None) -> None:
        self._fingerprint = fingerprint
        self._executor = executor
        self._ledger = ledger
        self._counter = StudentCounter()
        self._budget = batch_tokens
        self._shape: BatchLimits | None = None
        self._batches = 0
        """Number of batches that are being computed by the executor or wait in its queue."""
        self._batcher: Batcher[Mapping[str, Span], Mapping[str, SpanLoss]] = Batcher(self._wave, _WAVE, len)

    async def of(self, spans: Sequence[Span]) -> list[SpanLoss]:
        """Return the loss of each span.

        Spans that are asked for at the same time share batches, and equal spans are computed once.
        """
        keys = [self._key(span) for span in spans]
        wanted = _wanted(zip(keys, spans, strict=True))
        found = self._known(wanted)
        self._counter.reused += sum(key in found for key in keys)
        missing = {key: span for key, span in wanted.items() if key not in found}
        if missing:
            found |= await self._batcher.submit(missing)
        return [found[key] for key in keys]

    def known(self, spans: Sequence[Span]) -> list[SpanLoss | None]:
        """Return the loss of each span, or ``None`` if it is not in the ledger; compute nothing."""
        keys = [self._key(span) for span in spans]
        found = self._known(_wanted(zip(keys, spans, strict=True)))
        return [found.get(key) for key in keys]

    async def check(self, spans: Sequence[Span]) -> None:
        """Check that the student can encode *spans* at all, before anything is paid for.

        Raises:
            ConfigError: it cannot, for example because the preset is ``chat`` and the tokenizer has no chat template.
            PluginError: the student raises another exception.
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
        """Stop the computation of losses that nothing waits for any more."""
        await self._batcher.close()

    def busy(self) -> bool:
        """Return whether losses are being computed, after which samples will go on."""
        return self._batcher.busy

    def counts(self) -> StudentCounts:
        """Return the counts of forward passes and losses."""
        return StudentCounts(self._counter.tokens, self._counter.passes, self._counter.reused)

    def why(self) -> str:
        """Return a description of what is being waited for."""
        return f"student: {self._batches} batches under way"

    def _key(self, span: Span) -> str:
        texts = [_plain(span.context), span.target, _plain(span.paired_context)]
        return digest([self._fingerprint, *texts, span.join, span.max_tokens, span.count_only])

    def _known(self, wanted: Mapping[str, Span]) -> dict[str, SpanLoss]:
        """Return the losses that the ledger has; for a span ``by_token`` only those with values for each token."""
        found = self._ledger.losses.find(key for key, span in wanted.items() if not span.by_token)
        return found | self._ledger.losses.find_by_token(key for key, span in wanted.items() if span.by_token)

    # --- one wave ---------------------------------------------------------------------------

    async def _wave(self, asked: Sequence[Mapping[str, Span]]) -> AsyncIterator[tuple[int, Mapping[str, SpanLoss]]]:
        """Compute the losses of one wave; yield the position and losses of each request when all of them are committed.

        The sample behind a finished request can go on while the rest of the wave is computed.
        """
        answers = _Answers(asked)
        wanted = _wanted(item for one in asked for item in one.items())
        # The previous wave may have computed losses that were still missing when these were asked for.
        known = self._known(wanted)
        self._counter.reused += len(known)
        for answer in answers.add(known):
            yield answer
        async for losses in self._computed({key: span for key, span in wanted.items() if key not in known}):
            for answer in answers.add(losses):
                yield answer

    async def _computed(self, wanted: Mapping[str, Span]) -> AsyncIterator[Mapping[str, SpanLoss]]:
        """Encode and score the spans, and yield their committed losses batch by batch."""
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
        """Run the forward passes, and yield the committed losses of each batch as it finishes."""
        if not spans:
            return
        shape = await self._shaped()
        keys = list(spans)
        running: set[asyncio.Future[Mapping[str, SpanLoss]]] = set()
        try:
            for batch in plan(list(spans.values()), self._most, shape.packs):
                running.add(asyncio.ensure_future(self._forward(batch, keys)))
                # Two more batches than workers: one is being committed while another waits for a free worker.
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
        """Return the student's batch limits; the first call records its forward path in the ledger for the manifest."""
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
        # Out-of-memory results are not stored, since the sequence may fit a larger device in a later run.
        await self._ledger.losses.put({key: loss for key, loss in losses.items() if loss.status != "oom"})
        return losses

    async def _scored(self, batch: ForwardBatch) -> Sequence[SpanLoss]:
        """Score one batch; when it does not fit into memory, halve it, if need be down to single sequences."""
        if batch.size > self._most() and len(batch.spans) > 1:
            # The batch was planned before another one ran out of memory and lowered the budget.
            return await self._halved(batch)
        self._batches += 1
        try:
            found = await self._executor.run(partial(_score, batch.spans))
        except OutOfMemory as error:
            if len(batch.spans) == 1:
                return [SpanLoss(None, 0, "oom", f"a single sequence does not fit the device: {error}")]
            self._budget = max(1, min(self._most(), batch.size // 2))
            return await self._halved(batch)
        finally:
            self._batches -= 1
        self._counter.passes += 1
        self._counter.tokens += batch.tokens
        return found

    async def _halved(self, batch: ForwardBatch) -> Sequence[SpanLoss]:
        return [loss for half in batch.halves() for loss in await self._scored(half)]


class _Answers:
    """A collector of losses, which completes each request when all of its losses are there."""

    def __init__(self, asked: Sequence[Mapping[str, Span]]) -> None:
        self._asked = asked
        self._found: dict[str, SpanLoss] = {}
        self._open = [len(one) for one in asked]
        self._askers: dict[str, list[int]] = defaultdict(list)
        for position, one in enumerate(asked):
            for key in one:
                self._askers[key].append(position)

    def add(self, losses: Mapping[str, SpanLoss]) -> Iterator[tuple[int, Mapping[str, SpanLoss]]]:
        """Add losses, and yield the position and losses of each request that they complete."""
        self._found.update(losses)
        for key in losses:
            for position in self._askers[key]:
                self._open[position] -= 1
                if not self._open[position]:
                    yield position, {own: self._found[own] for own in self._asked[position]}


def _wanted(spans: Iterable[tuple[str, Span]]) -> dict[str, Span]:
    """Return the spans by key; of equal spans one with ``by_token`` is kept, since its loss answers both."""
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
    """Return the result for a span that needs no forward pass, else ``None``."""
    if isinstance(encoded, SpanLoss):
        return encoded
    return SpanLoss(None, len(encoded.ids) - encoded.start) if encoded.count_only else None


def _with_cut(loss: SpanLoss, span: EncodedSpan) -> SpanLoss:
    return evolve(loss, cut=span.cut) if span.by_token else loss


def _finite(loss: SpanLoss) -> SpanLoss:
    """Return the loss, marked ``nonfinite`` and without its number if that is NaN or infinite."""
    if loss.nll is None or math.isfinite(loss.nll):
        return loss
    return SpanLoss(None, loss.tokens, "nonfinite", f"the student's loss is {loss.nll}")
