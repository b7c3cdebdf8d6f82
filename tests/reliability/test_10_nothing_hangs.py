"""Promise 10: nothing hangs."""

from __future__ import annotations

import time

from rt_framework.rundir import progress
from rt_framework.testing.server import Fault, FaultServer
from tests.reliability.jobs import http_job
from tests.run_helpers import attempts, http_answer, rows


def test_an_attempt_has_a_deadline_in_all(tmp_path, rt):
    """A server that never answers costs so many attempts of so many seconds; the samples go on, and are counted."""
    with FaultServer(http_answer, lambda number, body: Fault("hang")) as server:
        limits = {"timeout": 0.5, "attempts": 1, "concurrency": 8}
        config = http_job(tmp_path, server, rows(4), limits=limits)
        began = time.monotonic()
        done = rt("run", config, "--run-dir", tmp_path / "run")
        assert time.monotonic() - began < 20
    assert done.code == 1
    assert "4 samples met errors" in done.out
    # The first attempts may reach their deadline before the client has connected.
    assert attempts(tmp_path / "run") == {("failed", "timeout"): 8}
    assert 0 < len(server.received) <= 8


def test_one_is_told_when_nothing_happens(tmp_path, rt, monkeypatch):
    """The line says for how long nothing has happened and which calls are awaited; it is not repeated often."""
    monkeypatch.setattr(progress, "_PATIENCE", 0.3)
    with FaultServer(lambda body: time.sleep(2.0) or http_answer(body)) as server:
        done = rt("run", http_job(tmp_path, server, rows(1)), "--run-dir", tmp_path / "run")
    told = [line for line in done.out.splitlines() if line.startswith("no progress for ")]
    assert "waiting for 1 answer of the teacher" in told[0]
    assert 1 <= len(told) <= 8


def test_a_long_wait_that_the_provider_asked_for_is_named(tmp_path, rt, monkeypatch):
    """A Retry-After of hours is no riddle."""
    monkeypatch.setattr(progress, "_PATIENCE", 0.3)
    with FaultServer(http_answer, lambda number, _: Fault("rate_limit", "2") if number == 0 else None) as server:
        done = rt("run", http_job(tmp_path, server, rows(1), limits={}), "--run-dir", tmp_path / "run")
    assert "the provider asked to pause for another" in done.out
