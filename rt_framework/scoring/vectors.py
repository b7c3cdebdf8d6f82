"""The vectors of pairs by the student's hidden states: looked up in the ledger, or else computed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from operator import mul
from typing import Any

from rt_framework.errors import OutOfMemory, PluginError, Unscorable, place_kept
from rt_framework.kit.compact import CompactStrings
from rt_framework.ledger import Ledger, SpanVector
from rt_framework.model import Pair
from rt_framework.protocols import Executor, Frame
from rt_framework.scoring.counts import StudentCounter
from rt_framework.scoring.forward import BatchLimits, encoded
from rt_framework.scoring.planning import ForwardBatch, plan
from rt_framework.scoring.store import key_of
from rt_framework.spans import EncodedSpan, Span

SpansOf = Callable[[Pair, Frame], Sequence[Span]]
"""Function that returns the spans of a pair of whose target tokens its vector is the mean."""

Vector = Sequence[float]
"""The numbers of a vector, each in float32; a student's vectors all have one length."""

_WAVE = 1024
"""Number of pairs whose vectors are computed together."""


class Vectors:
    """The vectors of one student, looked up in one ledger or computed.

    Args:
        frame: makes the spans of a pair, by the rules of the preset.
        fingerprint: the student's identity, part of every key.
        executor: where the student runs.
        ledger: where vectors are kept.
        counter: counts the student's forward passes.
        batch_tokens: most tokens of a batch; ``None`` for the student's own limit.
    """

    def __init__(
        self,
        frame: Frame,
        fingerprint: str,
        executor: Executor,
        ledger: Ledger,
        counter: StudentCounter,
        batch_tokens: int | None,
    ) -> None:
        self._frame = frame
        self._fingerprint = fingerprint
        self._executor = executor
        self._ledger = ledger
        self._counter = counter
        self._budget = batch_tokens or 0
        """Most tokens of a batch; 0 until the student's own limit is known. Lowered when memory runs out."""

    async def computed(self, pairs: Iterator[Pair], spans_of: SpansOf) -> Callable[[int], Vector | None]:
        """Compute the missing vectors of all pairs, and return a function that reads the vector of the n-th pair.

        A pair has no vector if it has no such spans, or if one of them cannot be encoded.

        Raises:
            PluginError: the student gives something else than vectors.
        """
        # In memory each pair has the keys of its spans only, 32 letters each.
        keys = CompactStrings()
        while wave := list(islice(pairs, _WAVE)):
            spans: dict[str, Span] = {}
            for pair in wave:
                own = {key_of(span, self._fingerprint, "vector"): span for span in self._spans(pair, spans_of)}
                keys.append(" ".join(own))
                spans |= own
            known = self._ledger.vectors.known(spans)
            self._counter.reused += len(known)
            await self._compute({key: span for key, span in spans.items() if key not in known})
        return lambda place: self._read(keys[place].split())

    def _spans(self, pair: Pair, spans_of: SpansOf) -> Sequence[Span]:
        try:
            return spans_of(pair, self._frame)
        except Unscorable:
            return ()

    def _read(self, keys: Sequence[str]) -> Vector | None:
        """Return the mean over the tokens of all these spans; ``None`` if one of them has no vector."""
        found = self._ledger.vectors.find(keys)
        if not keys or len(found) < len(keys):
            return None
        if len(keys) == 1:
            return found[keys[0]].numbers
        total = sum(part.tokens for part in found.values())
        columns = zip(*(part.numbers for part in found.values()), strict=True)
        weights = [part.tokens / total for part in found.values()]
        return tuple(sum(map(mul, weights, column)) for column in columns)

    async def _compute(self, spans: Mapping[str, Span]) -> None:
        if not spans:
            return
        self._budget = self._budget or (await self._executor.run(BatchLimits.of)).batch_tokens
        found = await self._executor.run(partial(encoded, tuple(spans.values())))
        sequences = {
            key: one
            for key, one in zip(spans, found, strict=True)
            if isinstance(one, EncodedSpan) and not one.count_only
        }
        keys = list(sequences)
        batches = plan(list(sequences.values()), lambda: self._budget, packed=False)
        while some := list(islice(batches, self._executor.workers)):
            await asyncio.gather(*(self._commit(batch, keys) for batch in some))

    async def _commit(self, batch: ForwardBatch, keys: Sequence[str]) -> None:
        """Compute the vectors of one batch and commit them; *keys* are those of all sequences that were planned."""
        vectors: dict[str, SpanVector] = {}
        for positions, span, numbers in zip(batch.positions, batch.spans, await self._embedded(batch), strict=True):
            if numbers is not None:
                vector = SpanVector(len(span.positions), numbers)
                vectors |= {keys[position]: vector for position in positions}
        await self._ledger.vectors.put(vectors)

    async def _embedded(self, batch: ForwardBatch) -> Sequence[Vector | None]:
        """Embed one batch; when it does not fit into memory, halve it, if need be down to single sequences."""
        if batch.size > self._budget and len(batch.spans) > 1:
            # The batch was planned before another one ran out of memory and lowered the budget.
            return await self._halved(batch)
        try:
            vectors = await self._executor.run(partial(_embed, batch.spans))
        except OutOfMemory:
            if len(batch.spans) == 1:
                return [None]
            self._budget = max(1, min(self._budget, batch.size // 2))
            return await self._halved(batch)
        self._counter.passed(batch.tokens)
        return vectors

    async def _halved(self, batch: ForwardBatch) -> Sequence[Vector | None]:
        return [vector for half in batch.halves() for vector in await self._embedded(half)]


def _embed(spans: Sequence[EncodedSpan], student: Any) -> Sequence[Vector | None]:
    """Return the vectors of a student; ``None`` for one that is not finite."""
    with place_kept():
        vectors = [tuple(map(float, vector)) for vector in student.embed(spans)]
    if len(vectors) != len(spans) or len(set(map(len, vectors))) > 1 or not all(vectors):
        lengths = sorted(set(map(len, vectors)))
        raise PluginError(f"the student gave {len(vectors)} vectors of lengths {lengths} for {len(spans)} sequences")
    return [vector if all(map(math.isfinite, vector)) else None for vector in vectors]
