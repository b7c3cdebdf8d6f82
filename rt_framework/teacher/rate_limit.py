"""How fast a provider is asked: as fast as it takes, and no faster than it says.

Two limits are learned, since providers refuse for two reasons. *Too often* (429): calls a second are held to
just below what was accepted, and to a little more as time goes by. *Too much* (5xx, timeouts): calls
under way are halved, and grow again as answers come. At the start calls under way double with every answer
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
"""Calls under way at first."""

_BELOW = 0.95
"""Share of the accepted rate that is kept to after a refusal."""

_SOON, _FAR_BELOW = 5.0, 0.8
"""Seconds between two refusals that show a rate far too high, as a burst does that is let through; the share then."""

_GROWTH = 0.003
"""What the rate grows by in a second, as a share of itself; twice that after ten seconds, and so on."""

_ENOUGH = 10
"""Calls that make a measured rate believable."""

_RECENT = 64
"""Latest calls that it is measured from."""

_EVIDENCE = 256
"""Latest calls that shares of failures are taken of."""

_TOO_OFTEN, _TOO_MUCH = 0.04, 0.1
"""Shares of refusals, and of errors, among the calls of the last ten seconds that are no accident, and"""

_SURELY = 1.0
"""by how many standard errors they have to be exceeded: a few calls show a share badly."""

_CATCH_UP = 0.05
"""Seconds of delay that are made up for: clocks of an event loop are coarse."""


class AdaptiveLimiter:
    """Lets calls go, first come first served.

    Args:
        most: calls under way at once, at most.
        breaker: ends the waiting.
        steady: begin with *most*, for what runs on this machine.
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
        """Wait for a place; it is given back at the end of the block. Gives the time of sending.

        Raises:
            RtError: sending ended meanwhile.
        """
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
        """The provider took a call, whatever it made of it."""
        if self._line.locked():  # somebody waits
            self._window += 1 if self._window < self._doubles_to else 1 / self._window
            self._window = min(self._window, self._most)

    def refused(self, sent: float, too_often: bool, retry_after: float | None) -> None:
        """The provider refused a call, or did not cope with it.

        Args:
            sent: when the call was sent, as :meth:`turn` gave it.
            too_often: it said to slow down.
            retry_after: seconds in which it wants no call at all.
        """
        now = _now()
        if retry_after is not None:
            self._resume = max(self._resume, now + retry_after)
        if too_often and sent in self._sends:
            self._sends.remove(sent)
        times, share = (self._refusals, _TOO_OFTEN) if too_often else (self._errors, _TOO_MUCH)
        times.append(now)
        since = max(now - 10, self._sends[0] if self._sends else now)
        if retry_after is None and _latest(times, since) < _most_by_chance(share, _latest(self._sends, since)):
            return  # some providers fail a call now and then, however few they are sent
        if sent < self._cut:
            return  # sent before the last cut could have an effect
        soon, self._cut = now - self._cut < _SOON, now
        latest = list(self._sends)[-_RECENT:]
        if too_often and len(latest) >= _ENOUGH and now > latest[0]:
            self._rate = (_FAR_BELOW if soon else _BELOW) * min(self._rate, len(latest) / (now - latest[0]))
            self._sends.clear()  # a pause is not the provider's rate
            self._refusals.clear()
        else:
            self._window = max(1.0, self._window / 2)
            if not too_often:
                self._doubles_to = self._window

    def held(self) -> str:
        """How the provider slows the calls, in words; nothing if it does not."""
        left = self._resume - _now()
        if left > 0:
            return f"the provider asked for no calls for another {left:.1f} s"
        return "" if math.isinf(self._rate) else f"at most {self._rate:.1f} calls a second after a 429"

    @property
    def at_once(self) -> int:
        """Calls that may be under way now."""
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
            if now - self._due <= _CATCH_UP:  # else the rate is not what holds calls up
                self._rate += _GROWTH * (1 + (now - self._cut) / 10)
            self._due = max(self._due, now - _CATCH_UP) + 1 / self._rate


def _latest(times: Sequence[float], since: float) -> int:
    return sum(at >= since for at in times)


def _most_by_chance(share: float, calls: int) -> float:
    """Failures among so many calls from which on chance does not explain them."""
    return share * calls + _SURELY * math.sqrt(share * (1 - share) * calls)


def _now() -> float:
    """Seconds, by the clock of the event loop."""
    return asyncio.get_running_loop().time()
