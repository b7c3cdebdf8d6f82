"""The rate at which a provider is asked, simulated on a clock that runs ahead whenever every task waits."""

from __future__ import annotations

import asyncio
import math
import random

import pytest

from rt_framework.concurrency.rate_limit import AdaptiveLimiter
from rt_framework.concurrency.stop import StopSignal
from rt_framework.errors import RtError
from rt_framework.model import Quotas


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes only while nothing can run."""

    now = 0.0

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0].when())
        super()._run_once()


def simulated(work):
    """Return the result of *work*, run on the clock that runs ahead."""
    with asyncio.Runner(loop_factory=Clock) as runner:
        return runner.run(work)


class Bucket:
    """A provider that takes *rate* calls a second, and a burst of *size*; the others get a 429.

    With a Retry-After of whole seconds, as most providers give it, or without.
    """

    def __init__(self, rate, size, latency, tells):
        self._rate, self._size, self._latency, self._tells = rate, size, latency, tells
        self._tokens, self._at = float(size), 0.0
        self.taken: list[float] = []
        self.rejected: list[float] = []

    async def ask(self):
        """``None``, or the refusal's Retry-After in seconds (NaN for none)."""
        now = asyncio.get_running_loop().time()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            self.rejected.append(now)
            await asyncio.sleep(0.01)
            return max(1, math.ceil((1 - self._tokens) / self._rate)) if self._tells else math.nan
        self._tokens -= 1
        self.taken.append(now)
        await asyncio.sleep(self._latency * random.uniform(0.8, 1.2))
        return None


async def use(bucket, seconds, most, seed=1):
    """Ask without end, as the calls of a run do, for so long."""
    random.seed(seed)
    pace = AdaptiveLimiter(most, StopSignal())

    async def call():
        attempt = 0
        while True:
            async with pace.turn() as sent:
                wait = await bucket.ask()
                if wait is None:
                    pace.accepted()
                    return
                pace.refused(sent, True, None if math.isnan(wait) else float(wait))
            attempt += 1
            await asyncio.sleep((2.0 ** min(attempt - 1, 5) if math.isnan(wait) else wait) * random.uniform(1, 1.25))

    async def worker():
        while True:
            await call()

    workers = [asyncio.create_task(worker()) for _ in range(256)]
    await asyncio.sleep(seconds)
    for one in workers:
        one.cancel()


@pytest.mark.parametrize("tells", [True, False], ids=["Retry-After", "without"])
@pytest.mark.parametrize("latency", [0.05, 1.0, 4.0])
@pytest.mark.parametrize(("rate", "size"), [(2, 2), (2, 20), (15, 15), (50, 25)])
def test_the_allowed_rate_is_found_and_kept(rate, size, latency, tells):
    """In the steady state at least 85 % of it, and at most 5 % of the calls refused."""
    most = 128
    reachable = min(rate, 0.95 * most / latency)
    start, end = 120.0, 300.0
    bucket = Bucket(rate, size, latency, tells)
    simulated(use(bucket, end, most))
    taken = sum(start <= at for at in bucket.taken)
    rejected = sum(start <= at for at in bucket.rejected)
    assert taken / (end - start) >= 0.85 * reachable
    assert rejected <= 0.05 * (taken + rejected)


@pytest.mark.parametrize("seed", range(6))
def test_a_burst_that_is_let_through_misleads_for_seconds_only(seed):
    """The burst makes the first measured rates far too high; from the sixth second on they are right."""
    bucket = Bucket(20, 20, 0.2, True)
    simulated(use(bucket, 18.0, 64, seed))
    taken = sum(6 <= at <= 17 for at in bucket.taken)
    assert taken >= 0.85 * 20 * 11
    assert sum(6 <= at <= 17 for at in bucket.rejected) <= 0.05 * taken


@pytest.mark.parametrize(
    ("most", "careful", "quotas", "seconds"),
    [
        (200, False, None, 26.0),
        (200, True, None, 26.5),
        (200, True, Quotas(requests=10**6), 25.6),
        (32, True, None, 157.4),
    ],
)
def test_a_start_costs_about_two_answers(most, careful, quotas, seconds):
    """Of 10,000 questions, each answered after half a second, whatever the number that may be under way."""

    async def ask_all():
        pace = AdaptiveLimiter(most, StopSignal(), careful=careful)
        questions = iter(range(10_000))

        async def worker():
            for _ in questions:
                async with pace.turn():
                    await asyncio.sleep(0.5)
                    pace.accepted(quotas)

        await asyncio.gather(*(worker() for _ in range(256)))
        return asyncio.get_running_loop().time()

    assert 10_000 / most * 0.5 <= simulated(ask_all()) <= seconds


def test_refusals_now_and_then_slow_nobody():
    """A provider that refuses one call in a hundred, however slowly it is asked, and names no time: it is asked on."""

    class Moody(Bucket):
        async def ask(self):
            if random.random() < 0.01:
                await asyncio.sleep(0.01)
                return math.nan
            return await super().ask()

    bucket = Moody(1000, 1000, 0.5, False)
    simulated(use(bucket, 60.0, 20))
    assert len(bucket.taken) >= 0.8 * 60 * 20 / 0.5


def test_errors_and_refusals_together_slow_nobody():
    """Six calls in a hundred break and two are refused, at random: for five minutes the rate stays what it was."""
    done = []

    async def use_it():
        random.seed(3)
        pace = AdaptiveLimiter(16, StopSignal())

        async def worker():
            while True:
                async with pace.turn() as sent:
                    await asyncio.sleep(0.1)
                    luck = random.random()
                    if luck < 0.08:
                        pace.refused(sent, luck < 0.02, None)
                    else:
                        pace.accepted()
                        done.append(sent)

        workers = [asyncio.create_task(worker()) for _ in range(64)]
        await asyncio.sleep(300)
        for one in workers:
            one.cancel()

    simulated(use_it())
    assert sum(sent.at > 150 for sent in done) >= 0.8 * 150 * 16 / 0.1 * 0.92


async def test_calls_under_way_double_up_to_the_limit_and_halve_under_errors():
    """From sixteen, as answers come; once for all the calls that an outage hits, and not below one."""
    pace = AdaptiveLimiter(20, StopSignal())

    async def round_of(count, ok):
        async with asyncio.TaskGroup() as group:
            most = 0
            gate = asyncio.Event()

            async def call():
                nonlocal most
                async with pace.turn() as sent:
                    most = max(most, pace.under_way)
                    await gate.wait()
                    pace.accepted() if ok else pace.refused(sent, False, None)

            for _ in range(count):
                group.create_task(call())
            await asyncio.sleep(0.01)
            gate.set()
        return most

    assert [await round_of(60, True) for _ in range(2)] == [16, 20]
    assert await round_of(20, False) == 20
    assert await round_of(20, True) == 10


async def test_who_waits_is_woken_when_sending_ends():
    """By a fatal error, the budget or the user: no one waits for a place or a time that nobody will give."""
    stop = StopSignal()
    pace = AdaptiveLimiter(1, stop)
    entered = asyncio.Event()

    async def hold():
        async with pace.turn() as sent:
            pace.refused(sent, True, 3600.0)
            entered.set()
            await asyncio.sleep(0.05)

    async def wait():
        async with pace.turn():
            pytest.fail("sent")

    holding = asyncio.create_task(hold())
    await entered.wait()
    assert "asked to pause for another 3600.0 s" in pace.throttled()
    waiting = [asyncio.create_task(wait()) for _ in range(3)]
    await asyncio.sleep(0.1)
    stop.trip(RtError("over"))
    results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 1)
    assert [str(result) for result in results] == ["over"] * 3
    await holding
