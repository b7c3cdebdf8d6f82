"""The spans whose losses a server computes: many requests at once, each loss committed by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from attrs import evolve

from rt_framework.ledger import Ledger
from rt_framework.protocols import AsyncStudent, Executor
from rt_framework.scoring.canary import Canary
from rt_framework.scoring.counts import StudentCounter
from rt_framework.scoring.forward import check_parts, encoded
from rt_framework.scoring.request import LossRequest
from rt_framework.scoring.served import StudentServer
from rt_framework.scoring.store import LossStore
from rt_framework.spans import EncodedSpan, Span, SpanLoss


class RemoteQueue:
    """The spans whose losses a server computes, and the requests under way.

    Args:
        student: the student.
        ledger: where the losses of the student's check are kept.
        store: where losses are committed.
        executor: where texts are encoded.
        counter: counts requests, and losses that the store turns out to have.
    """

    def __init__(
        self, student: AsyncStudent, ledger: Ledger, store: LossStore, executor: Executor, counter: StudentCounter
    ) -> None:
        self._store = store
        self._executor = executor
        self._counter = counter
        self._path = student.path
        self._server = StudentServer(student, Canary(student.fingerprint, student.noise, ledger, self.encode))
        self._told_path = False
        self._flights: dict[tuple[str, bool], asyncio.Task[SpanLoss]] = {}

    async def complete(self, request: LossRequest) -> None:
        """Compute the losses that the request is missing; equal spans that are asked for at the same time are one."""
        flights = {key: self._flight(key, span) for key, span in request.missing.items()}
        # Shielded: if one caller is cancelled, the request goes on for the others, and its loss is committed.
        losses = await asyncio.gather(*(asyncio.shield(flight) for flight in flights.values()))
        request.fill(dict(zip(flights, losses, strict=True)))

    async def encode(self, spans: Sequence[Span]) -> Sequence[EncodedSpan | SpanLoss]:
        """Return the student's encoding of each span, or the reason why there is none."""
        return await self._executor.run(partial(encoded, tuple(spans)))

    async def check(self) -> None:
        """Check that the server gives sound losses, before anything is paid for.

        Raises:
            RtError: it does not, or does not answer at all.
        """
        await self._server.ready()

    async def close(self) -> None:
        """Cancel the requests under way, which nothing waits for any more, and close the connections."""
        for flight in self._flights.values():
            flight.cancel()
        await asyncio.gather(*self._flights.values(), return_exceptions=True)
        await self._server.close()

    @property
    def busy(self) -> bool:
        """True while losses are being computed."""
        return bool(self._flights)

    @property
    def loading(self) -> bool:
        """False, since the server has loaded its model."""
        return False

    def why(self) -> str:
        """Return a description of what is being waited for."""
        return self._server.why()

    def _flight(self, key: str, span: Span) -> asyncio.Task[SpanLoss]:
        name = (key, span.by_token)
        if name not in self._flights:
            self._flights[name] = asyncio.create_task(self._committed(key, span))
            self._flights[name].add_done_callback(partial(self._landed, name))
        return self._flights[name]

    def _landed(self, name: tuple[str, bool], flight: asyncio.Task[SpanLoss]) -> None:
        del self._flights[name]
        if not flight.cancelled():
            flight.exception()  # marks it as retrieved, since every waiter may have been cancelled

    async def _committed(self, key: str, span: Span) -> SpanLoss:
        """Return the loss of a span, which is in the ledger by then if it lasts."""
        # An earlier flight may have landed since the request looked into the ledger.
        known = self._store.find({key: span})
        if known:
            self._counter.reused += 1
            return known[key]
        (sequence,) = await self.encode((span,))
        if isinstance(sequence, SpanLoss):
            loss = sequence
        elif sequence.count_only:
            loss = SpanLoss(None, len(sequence.positions))
        else:
            loss = await self._computed(sequence)
        return (await self._store.commit({key: loss}))[key]

    async def _computed(self, sequence: EncodedSpan) -> SpanLoss:
        if not self._told_path:
            self._told_path = True
            await self._store.add_path(self._path)
        loss = await self._server.loss(sequence)
        check_parts(sequence, loss)
        self._counter.passed(len(sequence.ids))
        return evolve(loss, cut=sequence.cut) if sequence.by_token else loss
