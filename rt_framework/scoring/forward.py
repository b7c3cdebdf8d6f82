"""The forward passes of a student: requests for losses are gathered into waves, encoded, planned and run."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

from attrs import evolve, frozen

from rt_framework.concurrency import Batcher
from rt_framework.errors import OutOfMemory, PluginError, place_kept
from rt_framework.protocols import AsyncStudent, Executor, SelfDescribingStudent, Student, TurnStudent, is_served
from rt_framework.scoring.counts import StudentCounter
from rt_framework.scoring.planning import ForwardBatch, plan
from rt_framework.scoring.request import LossRequest, distinct
from rt_framework.scoring.store import LossStore
from rt_framework.spans import EncodedSpan, Span, SpanLoss
from rt_framework.text import number_of

_WAVE = 2048
"""Number of spans that are planned together: enough to fill batches with spans that share a prefix."""


@frozen
class BatchLimits:
    """The size and form of the batches that a student takes, and the name of its way through the forward pass."""

    batch_tokens: int
    packs: bool
    path: str

    @classmethod
    def of(cls, student: Student | AsyncStudent) -> BatchLimits:
        """Return the limits that the student declares, or else padded batches of a size that suits most devices."""
        if is_served(student):
            return cls(0, packs=False, path=student.path)
        if isinstance(student, SelfDescribingStudent):
            return cls(student.batch_tokens, student.packs, student.path)
        return cls(8192, packs=False, path="the student's own")


class ForwardQueue:
    """The spans that wait for a forward pass, and the passes under way.

    Args:
        store: where losses are committed.
        executor: where the student runs.
        counter: counts passes, and losses that the store turns out to have.
        batch_tokens: most tokens of a batch; ``None`` for the student's own limit.
    """

    def __init__(self, store: LossStore, executor: Executor, counter: StudentCounter, batch_tokens: int | None) -> None:
        self._store = store
        self._executor = executor
        self._counter = counter
        self._limits: BatchLimits | None = None
        self._budget = batch_tokens or 0
        """Most tokens of a batch; 0 until the student's own limit is known. Lowered when memory runs out."""
        self._under_way = 0
        """Number of batches that are being computed by the executor or wait in its queue."""
        # Two waves: the next one is encoded while this one is computed, and between them the device has work.
        self._batcher: Batcher[LossRequest, None] = Batcher(self._wave, _WAVE, _spans, at_once=2)
        self._waves: dict[str, asyncio.Event] = {}
        """By key of a span that is being computed: the end of its wave."""

    async def complete(self, request: LossRequest) -> None:
        """Compute the losses that the request is missing; requests that come at the same time share batches."""
        await self._batcher.submit(request)

    async def encode(self, spans: Sequence[Span]) -> Sequence[EncodedSpan | SpanLoss]:
        """Return the student's encoding of each span, or the reason why there is none."""
        return await self._executor.run(partial(encoded, tuple(spans)))

    async def check(self) -> None:
        """Do nothing: the model is loaded at the first pass, since a resumed run may need none."""

    async def close(self) -> None:
        """Stop the computation of losses that nothing waits for any more."""
        await self._batcher.close()

    @property
    def busy(self) -> bool:
        """True while losses are being computed."""
        return self._batcher.busy

    @property
    def loading(self) -> bool:
        """True while the student is loaded, after which its limits are known."""
        return self.busy and self._limits is None

    def why(self) -> str:
        """Return a description of what is being waited for; empty if the student has nothing to do."""
        if not self.busy:
            return ""
        if self.loading:
            return "loading the student"
        batches = number_of(self._under_way, "batch", "batches")
        return f"the student computes {batches}" if self._under_way else "the student reads texts"

    # --- one wave ---------------------------------------------------------------------------

    async def _wave(self, requests: Sequence[LossRequest]) -> AsyncIterator[tuple[int, None]]:
        """Complete the requests of one wave; yield the position of each when all its losses are committed.

        The sample behind a completed request can go on while the rest of the wave is computed.
        """
        positions: defaultdict[str, list[int]] = defaultdict(list)
        for position, request in enumerate(requests):
            for key in request.missing:
                positions[key].append(position)
        spans = distinct(keyed for request in requests for keyed in request.missing.items())
        async for losses in self._committed(spans):
            for key, loss in losses.items():
                for position in positions[key]:
                    requests[position].fill({key: loss})
                    if not requests[position].missing:
                        yield position, None

    async def _committed(self, spans: Mapping[str, Span]) -> AsyncIterator[Mapping[str, SpanLoss]]:
        """Yield the losses of all spans as they become known, each when it is in the ledger."""
        # The previous wave may have computed losses that were still missing when these were asked for.
        known = self._store.find(spans)
        self._counter.reused += len(known)
        yield known
        elsewhere = {key: wave for key in spans if key not in known and (wave := self._waves.get(key)) is not None}
        own = {key: span for key, span in spans.items() if key not in known and key not in elsewhere}
        ended = asyncio.Event()
        self._waves |= dict.fromkeys(own, ended)
        try:
            async for losses in self._computed(own):
                yield losses
        finally:
            for key in own:
                del self._waves[key]
            ended.set()
        # No wave waits for one that began after it, so none waits for itself.
        for wave in set(elsewhere.values()):
            await wave.wait()
        if elsewhere:
            async for losses in self._committed({key: spans[key] for key in elsewhere}):
                yield losses

    async def _computed(self, unknown: Mapping[str, Span]) -> AsyncIterator[Mapping[str, SpanLoss]]:
        """Yield the losses of spans that no other wave computes, each when it is in the ledger."""
        if not unknown:
            return
        without_pass: dict[str, SpanLoss] = {}
        sequences: dict[str, EncodedSpan] = {}
        for key, encoded in zip(unknown, await self.encode(tuple(unknown.values())), strict=True):
            if isinstance(encoded, SpanLoss):
                without_pass[key] = encoded
            elif encoded.count_only:
                without_pass[key] = SpanLoss(None, len(encoded.positions))
            else:
                sequences[key] = encoded
        yield await self._store.commit(without_pass)
        if sequences:
            async for losses in self._passes(sequences):
                yield losses

    async def _passes(self, sequences: Mapping[str, EncodedSpan]) -> AsyncIterator[Mapping[str, SpanLoss]]:
        """Run the forward passes, and yield the committed losses of each batch as it finishes."""
        limits = await self._known_limits()
        keys = list(sequences)
        running: set[asyncio.Future[Mapping[str, SpanLoss]]] = set()
        try:
            for batch in plan(list(sequences.values()), lambda: self._budget, limits.packs):
                running.add(asyncio.ensure_future(self._pass(batch, keys)))
                # Two more batches than workers: one is being committed while another waits for a free worker.
                while len(running) > self._executor.workers + 1:
                    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        running.discard(task)  # one by one: the errors of the others are taken below
                        yield task.result()
            for task in asyncio.as_completed(running):
                yield await task
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _known_limits(self) -> BatchLimits:
        """Return the student's batch limits; the first call asks for them and records the student's forward path."""
        if self._limits is None:
            self._limits = await self._executor.run(BatchLimits.of)
            self._budget = self._budget or self._limits.batch_tokens
            await self._store.add_path(self._limits.path)
        return self._limits

    async def _pass(self, batch: ForwardBatch, keys: Sequence[str]) -> Mapping[str, SpanLoss]:
        """Score one batch, and return its committed losses; *keys* are those of all sequences that were planned."""
        losses: dict[str, SpanLoss] = {}
        for positions, span, scored in zip(batch.positions, batch.spans, await self._scored(batch), strict=True):
            check_parts(span, scored)
            loss = evolve(scored, cut=span.cut) if span.by_token else scored
            losses |= {keys[position]: loss for position in positions}
        return await self._store.commit(losses)

    async def _scored(self, batch: ForwardBatch) -> Sequence[SpanLoss]:
        """Score one batch; when it does not fit into memory, halve it, if need be down to single sequences."""
        if batch.size > self._budget and len(batch.spans) > 1:
            # The batch was planned before another one ran out of memory and lowered the budget.
            return await self._halved(batch)
        self._under_way += 1
        try:
            losses = await self._executor.run(partial(_score, batch.spans))
        except OutOfMemory as error:
            if len(batch.spans) == 1:
                return [SpanLoss(None, 0, "oom", f"a single sequence does not fit the device: {error}")]
            self._budget = max(1, min(self._budget, batch.size // 2))
            return await self._halved(batch)
        finally:
            self._under_way -= 1
        self._counter.passed(batch.tokens)
        return losses

    async def _halved(self, batch: ForwardBatch) -> Sequence[SpanLoss]:
        return [loss for half in batch.halves() for loss in await self._scored(half)]


def _spans(request: LossRequest) -> int:
    return len(request.missing)


def encoded(spans: Sequence[Span], student: Student | AsyncStudent) -> Sequence[EncodedSpan | SpanLoss]:
    """Return a student's encoding of each span: the work for an executor, which other processes find by its name."""
    reads_turns = isinstance(student, TurnStudent)
    given = [span for span in spans if reads_turns or not span.is_typed]
    with place_kept():
        found = student.encode(given)
    if len(given) < len(spans) and len(found) == len(given):
        answers = iter(found)
        found = [_NO_TURNS if span.is_typed else next(answers) for span in spans]
    if all(span.scored is None and span.part == "whole" for span in spans):
        return found
    return [_of_parts(*both) for both in zip(spans, found, strict=True)]


_NO_TURNS = SpanLoss(None, 0, "no_turns", "this student shows neither tools nor reasoning apart from the text")


def _of_parts(span: Span, encoded: EncodedSpan | SpanLoss) -> EncodedSpan | SpanLoss:
    """Return the encoding, or a loss without a number for a student that does not know ``Span.scored``.

    It would give the loss of the whole target, which looks like a good number.
    """
    whole = span.scored is None and span.part == "whole"
    if whole or isinstance(encoded, SpanLoss) or encoded.scored is not None:
        return encoded
    return SpanLoss(None, 0, "no_parts", "this student gives no losses of parts of a target")


def check_parts(span: EncodedSpan, loss: SpanLoss) -> None:
    """Check that the loss of parts of a target is over the tokens of these parts.

    Raises:
        PluginError: it is over more tokens or fewer.
    """
    wanted = len(span.positions)
    if span.scored is not None and loss.nll is not None and loss.tokens != wanted:
        raise PluginError(f"the student gave a loss of {loss.tokens} tokens where {wanted} are to be scored")


def _score(spans: Sequence[EncodedSpan], student: Student) -> Sequence[SpanLoss]:
    with place_kept():
        return student.score(spans)
