"""Attempts to get losses from a student's server: as fast as it accepts them, again after failures, from one model."""

from __future__ import annotations

import asyncio
from collections import Counter

from attrs import frozen

from rt_framework.concurrency import AdaptiveLimiter, Sent, StopSignal, backoff
from rt_framework.errors import (
    FatalStudentError,
    PluginError,
    Retry,
    RtError,
    StudentError,
    described,
    too_long_a_pause,
)
from rt_framework.protocols import AsyncStudent
from rt_framework.scoring.canary import Canary
from rt_framework.spans import EncodedSpan, SpanLoss
from rt_framework.text import number_of

_FAILURES = {"rate_limited": 1_000_000, "connection": 20}
"""Failures of one request after which its sample has no score in this run, by kind. A request to slow down says nothing
about the sequence, and a lost connection hardly ever does: the server was stopped or started again."""

_MOST_FAILURES = 5
"""The same number for every other kind."""

_PATIENCE = 900.0
"""Seconds without any success after which the run ends: a large model takes minutes to load again."""

_FRESH = 30.0
"""Seconds after which the weights are checked again: a server may be replaced while nothing is asked of it."""

_DEADLINE = 1800.0
"""Seconds for one attempt, which no server needs: a plugin has a shorter deadline of its own."""

_TOO_MUCH = frozenset({"overloaded", "timeout", "connection"})
"""Kinds of failure that show that the server has more requests under way than it can handle."""


@frozen
class _Trouble:
    """A failure since which nothing succeeded."""

    error: StudentError
    since: float
    """Time of the first failure by the clock of the event loop, or the end of the pause that the server asked for."""


@frozen
class _Checked:
    """A check that the server has passed."""

    epoch: int
    at: float


class StudentServer:
    """The server of one student.

    A loss is given only if the server passed the check of the canary since the last failure: before the request was
    sent, and after the answer if a failure came between. So a server that was started again with other weights gives
    none, and a request that fails again and again is told from a server that is down.

    Args:
        student: the student.
        canary: the check that the same weights answer.
    """

    def __init__(self, student: AsyncStudent, canary: Canary) -> None:
        self._student = student
        self._canary = canary
        self._stop = StopSignal()
        self._limiter = AdaptiveLimiter(student.at_once, self._stop)
        self._checking = asyncio.Lock()
        self._epoch = 0
        """Number of failures so far after which another server may answer."""
        self._checked: _Checked | None = None
        self._trouble: _Trouble | None = None

    async def loss(self, sequence: EncodedSpan) -> SpanLoss:
        """Return the loss of a sequence, or a result without a number after as many attempts as are allowed.

        Raises:
            RtError: the server gives no further loss.
        """
        failures: Counter[str] = Counter()
        while True:
            epoch = await self.ready()
            try:
                loss = await self._attempt(sequence, epoch)
            except StudentError as error:
                self._check_hope(error)
                kind = error.kind.name
                failures[kind] += 1
                if error.kind.retry is not Retry.RESEND or failures[kind] >= _FAILURES.get(kind, _MOST_FAILURES):
                    return SpanLoss(None, 0, kind, error.message)
                await self._stop.sleep(backoff(failures.total(), error.retry_after))
                continue
            if loss is None:
                continue
            if self._epoch != epoch:
                await self.ready()
            return loss

    async def ready(self) -> int:
        """Wait until the server has passed the check since the last failure, and return the number of failures.

        Raises:
            RtError: the server does not pass, or stays away.
        """
        async with self._checking:
            while not self._is_fresh():
                self._stop.check()
                epoch = self._epoch
                try:
                    await self._canary.check(self._patiently)
                except RtError as error:
                    self._stop.trip(error)
                    raise
                self._checked = _Checked(epoch, _now())
                if epoch == self._epoch:
                    break
            return self._epoch

    async def close(self) -> None:
        """End every wait, and close the connections."""
        self._stop.trip(RtError("the run ended"))
        await self._student.aclose()

    def why(self) -> str:
        """Return a description of what is being waited for."""
        if self._trouble is not None:
            waited = max(_now() - self._trouble.since, 0.0)
            return f"the student's server has not answered for {waited:.0f} s ({self._trouble.error.message})"
        throttled = self._limiter.throttled()
        requests = self._limiter.under_way
        waiting = f"waiting for {number_of(requests, 'loss', 'losses')} of the student's server" if requests else ""
        return ", ".join(filter(None, (waiting, throttled)))

    def _is_fresh(self) -> bool:
        checked = self._checked
        return checked is not None and checked.epoch == self._epoch and _now() - checked.at < _FRESH

    # --- one attempt ------------------------------------------------------------------------

    async def _attempt(self, sequence: EncodedSpan, epoch: int | None) -> SpanLoss | None:
        """Send one request, and let the limiter know how the server took it.

        Args:
            sequence: the sequence.
            epoch: the number of failures at which the server was checked; ``None`` for the check itself.

        Returns:
            the loss; ``None`` if nothing was sent, because a request failed while this one waited for its turn.

        Raises:
            StudentError: the attempt failed.
            PluginError: the plugin raised another exception.
        """
        async with self._limiter.turn() as sent:
            if epoch is not None and epoch != self._epoch:
                return None
            deadline = asyncio.timeout(_DEADLINE)
            try:
                async with deadline:
                    loss = await self._student.loss(sequence)
            except StudentError as error:
                self._failed(error, sent)
                raise
            except RtError:
                raise
            except Exception as error:
                if not deadline.expired():
                    raise PluginError(f"the student raised {described(error)}") from error
                late = StudentError("timeout", f"no answer within {_DEADLINE:g} s")
                self._failed(late, sent)
                raise late from None
        self._limiter.accepted()
        self._trouble = None
        return loss

    async def _patiently(self, sequence: EncodedSpan) -> SpanLoss:
        """Return the loss of a fixed text, after as many attempts as it takes the server to be there.

        Raises:
            RtError: the server refuses it, or stays away.
        """
        attempt = 0
        while True:
            try:
                loss = await self._attempt(sequence, None)
                assert loss is not None, "the check itself always sends"
                return loss
            except StudentError as error:
                self._check_hope(error)
                if error.kind.retry is not Retry.RESEND:
                    raise FatalStudentError(
                        f"student: {error.kind.meaning}: {error.message}; the server refuses a short plain text"
                    ) from error
                attempt += 1
                await self._stop.sleep(backoff(min(attempt, 5), error.retry_after))

    def _failed(self, error: StudentError, sent: Sent) -> None:
        name = error.kind.name
        if name == "rate_limited" or name in _TOO_MUCH:
            self._limiter.refused(sent, name == "rate_limited", error.retry_after)
        else:
            self._limiter.accepted()
        if error.kind.retry is not Retry.RESEND:
            self._trouble = None  # a refusal is an answer
            return
        # After a request to slow down the same server goes on; after any other failure another one may answer.
        self._epoch += name != "rate_limited"
        resumes = _now() + (error.retry_after or 0.0)
        since = resumes if self._trouble is None else self._trouble.since
        self._trouble = _Trouble(error, max(since, resumes) if error.retry_after else since)

    def _check_hope(self, error: StudentError) -> None:
        """Check that a further attempt of any request may succeed.

        Raises:
            FatalStudentError: none can, or none has for so long that the run ends.
        """
        hopeless = self._trouble is not None and _now() - self._trouble.since > _PATIENCE
        if error.kind.fatal or too_long_a_pause(error) or hopeless:
            ended = FatalStudentError(
                f"student: {error.kind.meaning}: {error.message}; see to the server and give the same command again: "
                "no loss that was computed is lost"
            )
            self._stop.trip(ended)
            raise ended


def _now() -> float:
    """Return the time in seconds by the clock of the event loop."""
    return asyncio.get_running_loop().time()
