"""Attempts to get losses from a student's server: as fast as it accepts them, again after failures, from one model."""

from __future__ import annotations

import asyncio
from collections import Counter

from attrs import frozen

from rt_framework.concurrency import AdaptiveLimiter, StopSignal, backoff
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
from rt_framework.scoring.canary import Canary, Encode
from rt_framework.spans import EncodedSpan, SpanLoss

_FAILURES = {"rate_limited": 1_000_000, "connection": 20}
"""Failures of one request after which its sample has no score in this run, by kind. A request to slow down says nothing
about the sequence, and a lost connection hardly ever does: the server was stopped or started again."""

_MOST_FAILURES = 5
"""The same number for every other kind."""

_PATIENCE = 900.0
"""Seconds without any success after which the run ends: a large model takes minutes to load again."""

_DEADLINE = 1800.0
"""Seconds for one attempt, which no server needs: a plugin has a shorter deadline of its own."""

_TOO_MUCH = frozenset({"overloaded", "timeout", "connection"})
"""Kinds of failure that show that the server has more requests under way than it can handle."""


@frozen
class _Trouble:
    """A failure since which nothing succeeded."""

    error: StudentError
    since: float
    """Time of the first failure, by the clock of the event loop."""


class StudentServer:
    """The server of one student.

    Args:
        student: the student.
        canary: the check that the same weights answer.
        encode: encodes the texts of the canary.
    """

    def __init__(self, student: AsyncStudent, canary: Canary, encode: Encode) -> None:
        self._student = student
        self._canary = canary
        self._encode = encode
        self._stop = StopSignal()
        self._limiter = AdaptiveLimiter(student.at_once, self._stop)
        self._checking = asyncio.Lock()
        self._sound = False
        """True since the server passed the check of the canary, until the next failure."""
        self._trouble: _Trouble | None = None

    async def loss(self, sequence: EncodedSpan) -> SpanLoss:
        """Return the loss of a sequence, or a result without a number after as many attempts as are allowed.

        Raises:
            RtError: the server gives no further loss.
        """
        failures: Counter[str] = Counter()
        while True:
            await self.ready()
            try:
                return await self._attempt(sequence)
            except StudentError as error:
                self._check_hope(error)
                kind = error.kind.name
                failures[kind] += 1
                if error.kind.retry is not Retry.RESEND or failures[kind] >= _FAILURES.get(kind, _MOST_FAILURES):
                    return SpanLoss(None, 0, kind, error.message)
                await self._stop.sleep(backoff(failures.total(), error.retry_after))

    async def ready(self) -> None:
        """Wait until the server passes the check of the canary, which it has to pass again after each failure.

        So a server that was started again with other weights gives no loss, and a request that fails again and again
        is told from a server that is down.

        Raises:
            RtError: the server does not pass, or stays away.
        """
        async with self._checking:
            while not self._sound:
                self._stop.check()
                try:
                    await self._canary.check(self._encode, self._patiently)
                except RtError as error:
                    self._stop.trip(error)
                    raise
                self._sound = True

    async def close(self) -> None:
        """End every wait, and close the connections."""
        self._stop.trip(RtError("the run ended"))
        await self._student.aclose()

    def why(self) -> str:
        """Return a description of what is being waited for."""
        if self._trouble is not None:
            waited = asyncio.get_running_loop().time() - self._trouble.since
            return f"student: the server has not answered for {waited:.0f} s ({self._trouble.error.message})"
        throttled = self._limiter.throttled()
        return f"student: {self._limiter.under_way} requests under way" + (f", {throttled}" if throttled else "")

    # --- one attempt ------------------------------------------------------------------------

    async def _attempt(self, sequence: EncodedSpan) -> SpanLoss:
        """Send one request, and let the limiter and the check know how the server took it.

        Raises:
            StudentError: the attempt failed.
            PluginError: the plugin raised another exception.
        """
        async with self._limiter.turn() as sent:
            try:
                async with asyncio.timeout(_DEADLINE):
                    loss = await self._student.loss(sequence)
            except StudentError as error:
                self._failed(error, sent)
                raise
            except TimeoutError:
                late = StudentError("timeout", f"no answer within {_DEADLINE:g} s")
                self._failed(late, sent)
                raise late from None
            except RtError:
                raise
            except Exception as error:
                raise PluginError(f"the student raised {described(error)}") from error
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
                return await self._attempt(sequence)
            except StudentError as error:
                self._check_hope(error)
                if error.kind.retry is not Retry.RESEND:
                    raise FatalStudentError(
                        f"student: {error.kind.meaning}: {error.message}; the server refuses a short plain text"
                    ) from error
                attempt += 1
                await self._stop.sleep(backoff(min(attempt, 5), error.retry_after))

    def _failed(self, error: StudentError, sent: float) -> None:
        name = error.kind.name
        if name == "rate_limited" or name in _TOO_MUCH:
            self._limiter.refused(sent, name == "rate_limited", error.retry_after)
        else:
            self._limiter.accepted()
        if error.kind.retry is Retry.RESEND:
            # After a request to slow down the same server goes on; after any other failure another one may answer.
            self._sound = self._sound and name == "rate_limited"
            now = asyncio.get_running_loop().time()
            self._trouble = _Trouble(error, now if self._trouble is None else self._trouble.since)

    def _check_hope(self, error: StudentError) -> None:
        """Check that a further attempt of any request may succeed.

        Raises:
            FatalStudentError: none can, or none has for so long that the run ends.
        """
        now = asyncio.get_running_loop().time()
        hopeless = self._trouble is not None and now - self._trouble.since > _PATIENCE
        if error.kind.fatal or too_long_a_pause(error) or hopeless:
            ended = FatalStudentError(
                f"student: {error.kind.meaning}: {error.message}; see to the server and give the same command again: "
                "no loss that was computed is lost"
            )
            self._stop.trip(ended)
            raise ended
