"""An adaptive rate limit that sends calls as fast as the provider accepts them.

Providers refuse for two reasons. *Too often* (429): where the quotas of requests and tokens are known, from the config
or from headers, calls are planned by them; where they are not, calls per second are held to just below the rate that
was accepted, and then rise slowly. *Too much* (5xx, timeouts): the number of calls under way is halved, and grows again
as answers come. At the start the number of calls under way doubles with every response time, up to
``limits.concurrency``, unless the first answer has stated the quotas, by which the calls are planned from then on.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from attrs import frozen

from rt_framework.concurrency.quota import Buckets
from rt_framework.concurrency.stop import StopSignal
from rt_framework.model import Quotas

_START, _START_SHARE = 16, 0.25
"""Number of calls under way at the start, or this share of the largest number, if that is more.

So the largest number is reached after two response times, or after as many doublings as lead to it from 16."""

_FEW = 4.0
"""The number at the start where the first answer may state the quotas."""

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


@frozen(eq=False)
class Sent:
    """A call that was sent."""

    at: float
    """Time of sending, by the clock of the event loop."""
    tokens: float
    """Tokens that it will probably cost, answer included."""


class AdaptiveLimiter:
    """A limiter of calls under way and of calls per second; waiting calls go in the order in which they came.

    Args:
        most: largest number of calls under way at once.
        stop: stop signal that ends the waiting.
        steady: start with *most* calls, for a teacher that runs on this machine.
        requests: requests a minute that the provider takes; ``None`` if that is not known.
        tokens: tokens a minute that the provider takes; ``None`` if that is not known.
        careful: send few calls until the first answer, since it may state the quotas.
    """

    def __init__(
        self,
        most: int,
        stop: StopSignal,
        steady: bool = False,
        requests: float | None = None,
        tokens: float | None = None,
        careful: bool = False,
    ) -> None:
        self._stop = stop
        self._window = _Window(most, steady, careful)
        self._rate = _Rate()
        self._quotas = Buckets(requests, tokens)
        self._latest = _Latest()
        self._line = asyncio.Lock()
        self._freed = asyncio.Event()
        self._under_way: set[Sent] = set()

    @property
    def under_way(self) -> int:
        """Number of calls that are under way."""
        return len(self._under_way)

    @asynccontextmanager
    async def turn(self, tokens: float = 0.0) -> AsyncIterator[Sent]:
        """Wait until a call may be sent, and yield it; it counts as under way in the block.

        Args:
            tokens: tokens that the call will probably cost, answer included.

        Raises:
            RtError: sending was stopped meanwhile.
        """
        # Places and times are given under one lock, so that no later call overtakes a waiting one.
        async with self._line:
            await self._place()
            await self._time(tokens)
            sent = Sent(_now(), tokens)
            self._under_way.add(sent)
            self._latest.sends.append(sent.at)
        try:
            yield sent
        finally:
            self._under_way.discard(sent)
            self._freed.set()

    def accepted(self, stated: Quotas | None = None) -> None:
        """Note that the provider accepted a call, even if the call then failed for another reason.

        Args:
            stated: the quotas that the answer states, if it states any.
        """
        if stated is not None:
            self._quotas.told(stated, _now())
        self._window.heard(self._quotas.known)
        if self._line.locked():  # grows only while a call waits, because an unused limit says nothing of the provider
            self._window.grow()

    def used(self, sent: Sent, tokens: int) -> None:
        """Note how many tokens a call has cost; 0 if that is not known."""
        self._quotas.accepted(sent.tokens, tokens or None)

    def refused(self, sent: Sent, too_often: bool, retry_after: float | None, stated: Quotas | None = None) -> None:
        """Note that the provider refused a call or could not handle it, and lower a limit if that was no accident.

        Args:
            sent: the call, as :meth:`turn` yielded it.
            too_often: True if the provider asked to slow down (429).
            retry_after: seconds in which the provider wants no calls, if it said so.
            stated: the quotas that the refusal states, if it states any.
        """
        now = _now()
        if stated is not None:
            self._quotas.told(stated, now)
        self._window.heard(self._quotas.known)
        if retry_after is not None:
            self._rate.pause(now + retry_after)
        if too_often and self._quotas.known:
            self._quotas.refused(sent.at, now)
            return
        accident = self._latest.refused(sent.at, now, too_often) and retry_after is None
        # Some providers fail a call now and then, even at a low rate. And a call that was sent before the last cut does
        # not show that a further cut is needed.
        if accident or sent.at < self._rate.cut:
            return
        if not self._rate.lower(self._latest, now, too_often):
            self._window.halve(forever=not too_often)

    def throttled(self) -> str:
        """Return a description of the provider's present rate limit; empty if there is none."""
        return self._rate.described(_now()) or self._quotas.described()

    @property
    def at_once(self) -> int:
        """Number of calls that may be under way now."""
        return int(self._window.size)

    async def _place(self) -> None:
        self._stop.check()
        while self.under_way >= self.at_once:
            self._freed.clear()
            await self._freed.wait()
            self._stop.check()

    async def _time(self, tokens: float) -> None:
        now = _now()
        while now < (due := max(self._rate.due, self._quotas.due(tokens, now))):
            await self._stop.sleep(due - now)
            now = _now()
        self._rate.taken(now)
        self._quotas.take(tokens, now)


class _Window:
    """The number of calls that may be under way: doubled with every response time at first, halved after errors."""

    def __init__(self, most: int, steady: bool, careful: bool) -> None:
        self._start = float(most if steady else min(most, max(_START, _START_SHARE * most)))
        self.size = min(self._start, _FEW) if careful else self._start
        self._careful = careful
        self._most = most
        self._doubles_to = float(most)

    def heard(self, planned: bool) -> None:
        """Note that the provider has said something, after which no more care is needed.

        Args:
            planned: True if the quotas are known now, so that the rate needs no start of its own.
        """
        if self._careful:
            self._careful, self.size = False, float(self._most) if planned else self._start

    def grow(self) -> None:
        """Grow after an accepted call: by one while doubling, else by one per round of calls."""
        self.size += 1 if self.size < self._doubles_to else 1 / self.size
        self.size = min(self.size, self._most)

    def halve(self, forever: bool) -> None:
        """Halve the number.

        Args:
            forever: True if it grows by one per round from here on, as in congestion control of TCP.
        """
        self.size = max(1.0, self.size / 2)
        if forever:
            self._doubles_to = self.size


class _Latest:
    """Times of the latest calls, refusals (429) and errors, from which rates and shares are measured."""

    def __init__(self) -> None:
        self.sends: deque[float] = deque(maxlen=_EVIDENCE)
        self.refusals: deque[float] = deque(maxlen=_EVIDENCE)
        self._errors: deque[float] = deque(maxlen=_EVIDENCE)

    def refused(self, sent: float, now: float, too_often: bool) -> bool:
        """Note a refusal or an error, and return whether there are so few that chance explains them."""
        # The rate is measured from accepted calls only.
        if too_often and sent in self.sends:
            self.sends.remove(sent)
        times, share = (self.refusals, _TOO_OFTEN) if too_often else (self._errors, _TOO_MUCH)
        times.append(now)
        since = max(now - 10, self.sends[0] if self.sends else now)
        return _latest(times, since) < _most_by_chance(share, _latest(self.sends, since))


class _Rate:
    """The calls per second that the provider accepts, once it has refused some, and the pause that it asked for."""

    def __init__(self) -> None:
        self.cut = -math.inf
        """Time of the last cut of any limit."""
        self._per_second = math.inf
        self._resume = -math.inf
        self._next = -math.inf

    @property
    def due(self) -> float:
        """Time at which the next call may be sent."""
        return max(self._resume, self._next)

    def pause(self, until: float) -> None:
        """Send nothing until a time."""
        self._resume = max(self._resume, until)

    def lower(self, latest: _Latest, now: float, too_often: bool) -> bool:
        """Lower the rate, if it can be measured and is the cause; return whether it was lowered."""
        soon, self.cut = now - self.cut < _SOON, now
        sends = list(latest.sends)[-_RECENT:]
        if not (too_often and len(sends) >= _ENOUGH and now > sends[0]):
            return False
        self._per_second = (_FAR_BELOW if soon else _BELOW) * min(self._per_second, len(sends) / (now - sends[0]))
        latest.sends.clear()  # the pause that follows must not lower the next measured rate
        latest.refusals.clear()
        return True

    def taken(self, now: float) -> None:
        """Note that a call is sent, and compute the time of the next one."""
        if math.isfinite(self._per_second):
            if now - self._next <= _CATCH_UP:  # grows only while calls come as fast as the rate allows
                self._per_second += _GROWTH * (1 + (now - self.cut) / 10)
            self._next = max(self._next, now - _CATCH_UP) + 1 / self._per_second

    def described(self, now: float) -> str:
        """Return the present limit in words; empty if there is none."""
        if self._resume > now:
            return f"the provider asked to pause for another {self._resume - now:.1f} s"
        return "" if math.isinf(self._per_second) else f"at most {self._per_second:.1f} calls a second after a 429"


def backoff(attempt: int, retry_after: float | None) -> float:
    """Return the seconds before the next attempt: the server's request, else 1, 2, 4, … up to 60.

    Up to a quarter is added at random, so that calls that failed together are not sent again together.
    """
    spread = 1 + random.random() / 4  # noqa: S311 - no secret
    return spread * (retry_after if retry_after is not None else min(2.0 ** (attempt - 1), 60.0))


def _latest(times: Sequence[float], since: float) -> int:
    return sum(time >= since for time in times)


def _most_by_chance(share: float, calls: int) -> float:
    """Return the number of failures among *calls* from which on chance at a true *share* does not explain them."""
    return share * calls + _SURELY * math.sqrt(share * (1 - share) * calls)


def _now() -> float:
    """Return the time in seconds by the clock of the event loop."""
    return asyncio.get_running_loop().time()
