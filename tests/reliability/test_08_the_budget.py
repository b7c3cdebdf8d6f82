"""Promise 8: the budget is never exceeded."""

from __future__ import annotations

import random
import signal
import time

from rt_framework.testing.server import FaultServer, scattered
from tests.forks import forked
from tests.reliability.jobs import http_job
from tests.reliability.kills import work
from tests.run_helpers import http_answer, rows

FAULTS = ("server_error", "rate_limit", "reset", "truncated", "bad_json", "empty", "length", "content_filter")
PRICE = 1e-9
"""Dollars a token, both ways, as the teacher of these tests has it."""


def billed(server: FaultServer) -> float:
    """Dollars that the server charges, by its own count of four bytes a token."""
    tokens = 0
    for request in server.received:
        if request.billed:
            tokens += sum(-(-len(turn["content"].encode()) // 4) for turn in request.body["messages"])
            tokens += -(-len(http_answer(request.body).encode()) // 4)
    return tokens * PRICE


def test_what_is_billed_never_exceeds_it(tmp_path, size):
    """Random budgets, faults, concurrency and kills: after each of three runs the bill is within what was allowed, and
    most of the runs come to the end of their budget.
    """
    reached = 0
    for seed in range(size(8, 200)):
        source = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        budget = 0.0
        with FaultServer(http_answer, scattered(seed, 0.3, FAULTS)) as server:
            for turn in range(3):
                budget += source.uniform(2e-6, 2e-5)
                limits = {"budget_usd": budget, "concurrency": source.randint(1, 16), "fail_on_error": False}
                teacher = {"teacher": {"http": {"url": server.url}}, "limits": limits}
                process = forked(work, http_job(folder, server, rows(30), **teacher), folder / "run", None)
                if turn == 1:
                    time.sleep(source.uniform(0.05, 0.4))
                    process.kill()
                process.join(60)
                assert process.exitcode in (0, 6, -signal.SIGKILL), (seed, turn, process.exitcode)
                reached += process.exitcode == 6
                assert billed(server) <= budget, (seed, turn)
    assert reached
