"""The losses of spans, each computed once: looked up in the ledger, or else computed by the student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rt_framework.errors import ConfigError, PluginError, RtError, described
from rt_framework.events import StudentCounts
from rt_framework.kit import effort
from rt_framework.ledger import Ledger
from rt_framework.protocols import AsyncStudent, Executor, Student, is_served
from rt_framework.scoring.counts import StudentCounter
from rt_framework.scoring.forward import ForwardQueue
from rt_framework.scoring.remote import RemoteQueue
from rt_framework.scoring.request import LossRequest, SpansByName
from rt_framework.scoring.store import LossStore
from rt_framework.spans import Loss, SpanLoss


class Losses:
    """The losses of one student, looked up in one ledger or computed.

    Args:
        student: the student, whose fingerprint is part of every key.
        executor: where the student runs.
        ledger: where losses are kept.
        batch_tokens: most tokens of a batch; ``None`` for the student's own limit.
    """

    def __init__(
        self, student: Student | AsyncStudent, executor: Executor, ledger: Ledger, batch_tokens: int | None
    ) -> None:
        self._store = LossStore(student.fingerprint, ledger)
        self.counter = StudentCounter()
        self._open: set[LossRequest] = set()
        self._queue: ForwardQueue | RemoteQueue
        if is_served(student):
            self._queue = RemoteQueue(student, ledger, self._store, executor, self.counter)
        else:
            self._queue = ForwardQueue(self._store, executor, self.counter, batch_tokens)

    async def of(self, pairs: Sequence[SpansByName]) -> list[dict[str, Loss]]:
        """Return the losses of each pair, under the names of its spans.

        Spans that are asked for at the same time share batches, and equal spans are computed once.
        """
        request = self._looked_up(pairs)
        self.counter.reused += request.filled()
        if request.missing:
            effort.asked(request.characters)
            self._open.add(request)
            try:
                await self._queue.complete(request)
            finally:
                self._open.discard(request)
        return request.losses()

    def known(self, spans: SpansByName) -> Mapping[str, Loss] | None:
        """Return the losses of one pair by name, or ``None`` if one is not in the ledger; compute nothing."""
        request = self._looked_up([spans])
        return None if request.missing else request.losses()[0]

    async def check(self, spans: SpansByName) -> None:
        """Check that the student can encode *spans* at all, before anything is paid for.

        Raises:
            ConfigError: it cannot, for example because the preset is ``chat`` and the tokenizer has no chat template.
            PluginError: the student raises another exception.
            FatalStudentError: its server does not answer.
        """
        try:
            encodings = await self._queue.encode([span for turns in spans.values() for span in turns])
        except RtError:
            raise
        except Exception as error:
            raise PluginError(f"the student cannot encode: {described(error)}") from error
        for encoded in encodings:
            if isinstance(encoded, SpanLoss):
                raise ConfigError(f"the student cannot score with this preset and template: {encoded.reason}")
        await self._queue.check()

    async def ready(self) -> None:
        """Wait until a student's server has shown that it is there and computes with the weights of before.

        Raises:
            RtError: it does not, or stays away.
        """
        await self._queue.check()

    async def close(self) -> None:
        """Stop the computation of losses that nothing waits for any more."""
        await self._queue.close()

    def busy(self) -> bool:
        """Return whether losses are being computed, after which samples will go on."""
        return self._queue.busy

    def counts(self) -> StudentCounts:
        """Return the counts of forward passes and losses."""
        return self.counter.counts()

    def outstanding(self) -> int:
        """Return the characters of the texts whose losses are asked for and not known yet."""
        return sum(request.characters for request in self._open)

    def loading(self) -> bool:
        """Return whether the student is being loaded."""
        return self._queue.loading

    def why(self) -> str:
        """Return a description of what is being waited for."""
        return self._queue.why()

    def _looked_up(self, pairs: Sequence[SpansByName]) -> LossRequest:
        """Return a request for the spans, filled with the losses that the ledger has."""
        request = LossRequest(pairs, self._store.key)
        request.fill(self._store.find(request.missing))
        return request
