"""Promise 7: fatal errors stop."""

from __future__ import annotations

import pytest

from rt_framework.testing.server import Fault, FaultServer
from tests.helpers import the_error
from tests.reliability.jobs import http_job
from tests.run_helpers import attempts, http_answer, rows


@pytest.mark.parametrize(
    ("fault", "meaning"),
    [
        ("auth", "the provider did not accept the key"),
        ("forbidden", "the provider did not accept the key"),
        ("quota", "the account has no credit left"),
        ("no_model", "the provider does not know this model"),
    ],
)
def test_few_further_requests_and_a_message_that_names_the_cause(fault, meaning, tmp_path, rt):
    """At most `concurrency` of them, exit code 3, and what to do; when it is mended the same command goes on."""
    broken, count = True, 20

    def faults(number, body):
        return Fault(fault) if broken and number >= 6 else None

    with FaultServer(http_answer, faults) as server:
        config = http_job(tmp_path, server, rows(count), limits={"concurrency": 3})
        error = the_error(rt("run", config, "--run-dir", tmp_path / "run"), 3)
        assert meaning in error
        assert "give the same command again" in error
        assert len(server.received) <= 6 + 1 + 3
        assert not [key for key in attempts(tmp_path / "run") if key[0] == "intent"]
        broken = False
        sent, answered = len(server.received), attempts(tmp_path / "run")["answered", ""]
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
        assert len(server.received) - sent == 2 * count - answered
