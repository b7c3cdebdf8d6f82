"""An adaptive rate limit that sends calls as fast as the provider accepts them.

Two limits are learned, since providers refuse for two reasons. *Too often* (429): calls per second are held to
just below the rate that was accepted, and then rise slowly. *Too much* (5xx, timeouts): the number of calls under way
is halved, and grows again as answers come. At the start the number of calls under way doubles with every response
time, up to ``limits.concurrency``.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from rt_framework.concurrency import StopSignal

_START = 16
"""Number of calls under way at the start."""

_BELOW = 0.95
"""Share of the accepted rate that is used after a refusal."""

_SOON, _FAR_BELOW = 5.0, 0.8
"""Seconds between two cuts below which the rate counts as far too high, and the share of it that is used then.

A provider that lets a burst through makes the measured rate far too high."""

_GROWTH = 0.003
"""Growth of the rate per second, as a share of itself; twice that ten seconds after a cut, and so on."""

_ENOUGH = 10
"""Least number of calls from which a rate is measured."""

_RECENT = 64
"""Largest number of calls from which a rate is measured: the latest ones."""

_EVIDENCE = 256
"""Number of latest calls from which shares of failures are computed."""

_TOO_OFTEN, _TOO_MUCH = 0.04, 0.1
"""Shares of refusals (429) and of errors among the calls of the last ten seconds that are tolerated."""

_SURELY = 1.0
"""Standard errors by which a tolerated share has to be exceeded, because few calls measure a share badly."""

_CATCH_UP = 0.05
"""Most seconds of delay that later calls make up for, because the clock of an event loop is coarse."""


class AdaptiveLimiter:
    """A limiter of calls under way and of calls per second; waiting calls go in the order in which they came.

    Args:
        most: largest number of calls under way at once.
        breaker: stop signal that ends the waiting.
        steady: start with *most* calls, for a teacher that runs on this machine.
    """

    def __init__(self, most: int, breaker: StopSignal, steady: bool = False) -> None:
        self.under_way = 0
        self._most = most
        self._breaker = breaker
        self._window = float(most if steady else min(most, _START))
        self._doubles_to = float(most)
        self._line = asyncio.Lock()
        self._freed = asyncio.Event()
        self._resume = -math.inf
        self._rate = math.inf
        self._due = -math.inf
        self._cut = -math.inf
        self._sends: deque[float] = deque(maxlen=_EVIDENCE)
        self._refusals: deque[float] = deque(maxlen=_EVIDENCE)
        self._errors: deque[float] = deque(maxlen=_EVIDENCE)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[float]:
        """Wait until a call may be sent, and yield the time of sending; the call counts as under way in the block.

        Raises:
            RtError: sending was stopped meanwhile.
        """
        # Places and times are given under one lock, so that no later call overtakes a waiting one.
        async with self._line:
            await self._place()
            await self._time()
            self.under_way += 1
            sent = _now()
            self._sends.append(sent)
        try:
            yield sent
        finally:
            self.under_way -= 1
            self._freed.set()

    def accepted(self) -> None:
        """Note that the provider accepted a call, even if the call then failed for another reason."""
        if self._line.locked():  # grows only while a call waits, because an unused limit says nothing of the provider
            self._window += 1 if self._window < self._doubles_to else 1 / self._window
            self._window = min(self._window, self._most)

    def refused(self, sent: float, too_often: bool, retry_after: float | None) -> None:
        """Note that the provider refused a call or could not handle it, and lower a limit if that was no accident.

        Args:
            sent: time at which the call was sent, as :meth:`turn` yielded it.
            too_often: True if the provider asked to slow down (429).
            retry_after: seconds in which the provider wants no calls, if it said so.
        """
        now = _now()
        if retry_after is not None:
            self._resume = max(self._resume, now + retry_after)
        # The rate is measured from accepted calls only.
        if too_often and sent in self._sends:
            self._sends.remove(sent)
        times, share = (self._refusals, _TOO_OFTEN) if too_often else (self._errors, _TOO_MUCH)
        times.append(now)
        since = max(now - 10, self._sends[0] if self._sends else now)
        if retry_after is None and _latest(times, since) < _most_by_chance(share, _latest(self._sends, since)):
            return  # some providers fail a call now and then, even at a low rate
        if sent < self._cut:
            return  # the call was sent before the last cut, so its failure does not show that a further cut is needed
        soon, self._cut = now - self._cut < _SOON, now
        latest = list(self._sends)[-_RECENT:]
        if too_often and len(latest) >= _ENOUGH and now > latest[0]:
            self._rate = (_FAR_BELOW if soon else _BELOW) * min(self._rate, len(latest) / (now - latest[0]))
            self._sends.clear()  # the pause that follows must not lower the next measured rate
            self._refusals.clear()
        else:
            self._window = max(1.0, self._window / 2)
            # From here on the limit grows by one per round of calls, as in congestion control of TCP.
            if not too_often:
                self._doubles_to = self._window

    def throttled(self) -> str:
        """Return a description of the provider's present rate limit; empty if there is none."""
        left = self._resume - _now()
        if left > 0:
            return f"the provider asked for no calls for another {left:.1f} s"
        return "" if math.isinf(self._rate) else f"at most {self._rate:.1f} calls a second after a 429"

    @property
    def at_once(self) -> int:
        """Number of calls that may be under way now."""
        return int(self._window)

    async def _place(self) -> None:
        self._breaker.check()
        while self.under_way >= self.at_once:
            self._freed.clear()
            await self._freed.wait()
            self._breaker.check()

    async def _time(self) -> None:
        now = _now()
        while now < (due := max(self._resume, self._due)):
            await self._breaker.sleep(due - now)
            now = _now()
        if math.isfinite(self._rate):
            if now - self._due <= _CATCH_UP:  # grows only while calls come as fast as the rate allows
                self._rate += _GROWTH * (1 + (now - self._cut) / 10)
            self._due = max(self._due, now - _CATCH_UP) + 1 / self._rate


def _latest(times: Sequence[float], since: float) -> int:
    return sum(at >= since for at in times)


def _most_by_chance(share: float, calls: int) -> float:
    """Return the number of failures among *calls* from which on chance at a true *share* does not explain them."""
    return share * calls + _SURELY * math.sqrt(share * (1 - share) * calls)


def _now() -> float:
    """Return the time in seconds by the clock of the event loop."""
    return asyncio.get_running_loop().time()
