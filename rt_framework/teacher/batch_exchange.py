"""Exchanges with a provider's batch API: submitting, finding and collecting one batch, with the rules of repetition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeVar

from rt_framework.concurrency import StopSignal
from rt_framework.errors import (
    FatalTeacherError,
    PluginError,
    Retry,
    RtError,
    TeacherError,
    described,
    fatal,
    too_long_a_pause,
)
from rt_framework.ledger import BatchTable, OpenBatch
from rt_framework.model import Pending, Reply, Request
from rt_framework.protocols import BatchApiTeacher

T = TypeVar("T")

_SOONEST, _GROWTH, _LATEST = 10.0, 1.5, 300.0
"""Seconds between the first two polls of a batch, the factor by which the pause grows, and the longest pause."""

_GRACE, _LOOKS = 30.0, 6
"""Seconds after which a submitted batch certainly shows in the provider's list, and the number of looks until then."""

_TRANSFER = 600.0
"""Timeout in seconds of one exchange with the provider: files of up to 200 MB are sent and received."""

_UNREADABLE = 12
"""Number of unreadable answers to polls, after which a batch counts as lost: with the pauses, about half an hour."""

Ends = Mapping[str, Reply | TeacherError]
"""The reply or the failure of each question, by key."""


class BatchExchange:
    """The exchanges of one run with a provider about its batches.

    Args:
        teacher: plugin that exchanges batches with the provider.
        table: the batches in the ledger.
        stop: stop signal that ends the waiting; submitted batches stay with the provider.
    """

    def __init__(self, teacher: BatchApiTeacher, table: BatchTable, stop: StopSignal) -> None:
        self.table = table
        self.stop = stop
        self.trouble = ""
        """Reason why the provider has not answered the latest poll, in words; empty if it has."""
        self._teacher = teacher

    async def submit(self, batch: OpenBatch, fresh: bool) -> str:
        """Return the provider's name of a batch, which is submitted unless an earlier run may have submitted it.

        Raises:
            TeacherError: the provider certainly does not have the batch.
        """
        # A submission that may have arrived is never repeated, because both would be billed: the batch is looked for.
        why = "the run was killed before it was sent"
        if fresh:
            try:
                return await self._timed(self._teacher.submit(_requests(batch), batch.token))
            except TeacherError as error:
                if error.kind.retry is not Retry.RESEND or error.kind.name == "rate_limited":
                    raise
                why = error.message
        name = await self._find(batch.token)
        if name is None:
            raise TeacherError("expired", f"the batch was not submitted: {why}")
        return name

    async def collect(self, batch: OpenBatch, name: str, so_far: Callable[[Pending], None]) -> Ends:
        """Wait until the provider has ended a batch, and return the outcome of each question.

        Args:
            batch: the batch.
            name: the provider's name of it.
            so_far: called after each poll of a batch that has not ended yet.
        """
        pause, requests = _SOONEST, _requests(batch)
        while True:
            ends = await self._polled(batch.token, partial(self._teacher.collect, name, requests))
            if not isinstance(ends, Pending):
                return ends
            so_far(ends)
            await self.stop.sleep(pause)
            pause = min(pause * _GROWTH, _LATEST)

    async def _find(self, token: str) -> str | None:
        for look in range(_LOOKS):
            name = await self._polled(token, partial(self._teacher.find, token))
            if name is not None:
                return name
            if look < _LOOKS - 1:
                await self.stop.sleep(_GRACE / (_LOOKS - 1))
        return None

    async def _polled(self, token: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the provider's answer to a poll of a batch, repeated after each failure that may pass.

        Raises:
            FatalTeacherError: the provider refuses to answer, or no longer has the batch.
        """
        pause, unreadable = _SOONEST, 0
        while True:
            try:
                # A poll costs nothing, so it is cancelled when the run ends.
                answer = await self.stop.unless_tripped(self._timed(ask()))
            except TeacherError as error:
                unreadable += error.kind.name == "paid_unreadable"
                if error.kind.name == "batch_lost" or unreadable > _UNREADABLE:
                    await self.table.is_now(token, "lost")
                    raise _lost(error) from error
                if error.kind.retry is not Retry.RESEND or too_long_a_pause(error):
                    raise fatal(error) from error
                self.trouble = f"no answer from the provider yet: {error.message}"
                pause = min(max(pause * _GROWTH, error.retry_after or 0), _LATEST)
            else:
                self.trouble = ""
                return answer
            await self.stop.sleep(pause)

    async def _timed(self, exchange: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(_TRANSFER):
                return await exchange
        except (TeacherError, RtError):
            raise
        except TimeoutError:
            raise TeacherError("timeout", f"no answer within {_TRANSFER:g} s") from None
        except Exception as error:
            raise PluginError(f"the teacher's batches failed: {described(error)}") from error


def _requests(batch: OpenBatch) -> dict[str, Request]:
    return {question.key: question.request for question in batch.questions}


def _lost(error: TeacherError) -> FatalTeacherError:
    return FatalTeacherError(
        f"teacher: {error.message}. The same command looks for it again. A lost batch may have been billed: "
        "'rt retry --kind batch_lost' gives it up and asks its questions again, and so does 'rt run' with batch: false "
        "in the teacher's settings"
    )
