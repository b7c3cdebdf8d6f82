"""Promise 6: Retry-After is obeyed, and throughput finds the limit."""

from __future__ import annotations

import threading
import time

from rt_framework.testing.server import Fault, FaultServer
from tests.reliability.jobs import http_job
from tests.run_helpers import http_answer, rows


class Bucket:
    """Faults of a server that takes so many requests a second, and as many at once."""

    def __init__(self, rate: float) -> None:
        self._rate, self._tokens, self._at = rate, rate, time.monotonic()
        self._lock = threading.Lock()
        self.taken: list[float] = []
        self.rejected: list[float] = []

    def __call__(self, _number, _body):
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
            self._at = now
            (self.taken if self._tokens >= 1 else self.rejected).append(now)
            if self._tokens < 1:
                return Fault("rate_limit", retry_after="1")
            self._tokens -= 1
            return None


def test_the_limit_is_found_and_kept(tmp_path, rt, size):
    """In the steady state at least 85 % of the allowed rate, and at most 5 % of all requests refused."""
    rate, seconds = 20, size(18, 300)
    bucket = Bucket(rate)
    with FaultServer(lambda body: time.sleep(0.2) or http_answer(body), bucket) as server:
        limits = {"concurrency": 64, "attempts": 20}
        config = http_job(tmp_path, server, rows(rate * seconds // 2), limits=limits)
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
    steady = bucket.taken[0] + seconds / 3, bucket.taken[-1] - 1
    taken = [at for at in bucket.taken if steady[0] <= at <= steady[1]]
    rejected = [at for at in bucket.rejected if steady[0] <= at <= steady[1]]
    assert len(taken) >= 0.85 * rate * (steady[1] - steady[0])
    assert len(rejected) <= 0.05 * len(taken)


def test_nothing_is_sent_before_the_time_the_provider_named(tmp_path, rt):
    """Not by anybody: what was under way then is all that still arrives."""
    times = []

    def faults(number, body):
        times.append(time.monotonic())
        return Fault("rate_limit", retry_after="2") if number == 9 else None

    with FaultServer(http_answer, faults) as server:
        config = http_job(tmp_path, server, rows(12), limits={"concurrency": 1})
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
    assert len(times) == 25
    assert 2.0 <= times[10] - times[9] <= 4
