"""Promise 4: every sample is accounted for, whatever goes wrong."""

from __future__ import annotations

from collections import Counter

import pytest

from rt_framework.teacher import sending
from rt_framework.testing.server import FaultServer, scattered
from tests.reliability.jobs import KINDS, ODD, http_job
from tests.run_helpers import attempts, http_answer, rows, side


@pytest.mark.parametrize("seed", [1, 2])
def test_under_mixed_faults_all_rows_are_there(seed, tmp_path, rt, size, monkeypatch):
    """A fifth of all requests goes wrong in fourteen ways: the outcomes add up to the rows, each row is there once,
    and the ledger lists what the server counted, kind by kind.
    """
    monkeypatch.setattr(sending, "backoff", lambda *_: 0.0)
    count = size(60, 5000)
    with FaultServer(http_answer, scattered(seed, 0.2, (*KINDS, *ODD))) as server:
        limits = {"concurrency": 16, "fail_on_error": False}
        done = rt("run", http_job(tmp_path, server, rows(count), limits=limits), "--run-dir", tmp_path / "run")
    assert done.code == 0, done
    lines = side(tmp_path / "run")
    assert [line["row"] for line in lines] == list(range(count))
    outcomes = Counter(line["outcome"] for line in lines)
    assert set(outcomes) <= {"rewritten", "original", "dropped", "failed"}
    counted: Counter[tuple[str, str]] = Counter()
    for request in server.received:
        kind = KINDS.get(request.fault or "")
        counted[("failed", kind) if kind else ("answered", "")] += 1
    assert attempts(tmp_path / "run") == counted
    assert len(server.received) > 2 * count
