"""Promise 5: one attempt is one request, with the real litellm, for every kind of fault."""

from __future__ import annotations

import pytest

from rt_framework.testing.server import FAULTS, Fault, FaultServer
from tests.reliability.jobs import http_job
from tests.run_helpers import attempts, http_answer, rows


@pytest.mark.parametrize("fault", FAULTS)
def test_the_server_counts_what_the_ledger_lists(fault, tmp_path, rt):
    """Each attempt of a run is one request, and none is missing. The second part of a run, after the fault, too."""
    with FaultServer(http_answer, lambda number, body: Fault(fault) if number < 3 else None) as server:
        limits = {"concurrency": 1, "attempts": 1, "timeout": 1 if fault == "hang" else 20, "fail_on_error": False}
        config = http_job(tmp_path, server, rows(2), limits=limits)
        rt("run", config, "--run-dir", tmp_path / "run")
        assert sum(attempts(tmp_path / "run").values()) == len(server.received)
        rt("run", config, "--run-dir", tmp_path / "run")
        assert sum(attempts(tmp_path / "run").values()) == len(server.received)
    assert server.billed <= sum(attempts(tmp_path / "run").values())
