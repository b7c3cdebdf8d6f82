"""The whole job with a teacher over HTTP, judged by a server that counts what it received and billed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rt_framework.cli import main
from rt_framework.teacher import sending
from rt_framework.testing.server import FaultServer
from tests.reliability.jobs import http_job, litellm_at, priced_at
from tests.run_helpers import attempts, http_answer, rows, side

KEY = "sk-canary-0123456789abcdef"
COUNT = 20


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.setattr(sending, "backoff", lambda attempt, retry_after: 0.0)


def job(folder: Path, server: FaultServer, **more: object) -> Path:
    return http_job(folder, server, rows(COUNT), **{"teacher": priced_at(server), "limits": {}} | more)


@pytest.fixture
def rt_run(tmp_path, monkeypatch, capfd):
    """Calls `rt run` on a config, as the installed command does; gives exit code and all output."""

    def call(config: Path) -> tuple[int, str]:
        run_dir = str(tmp_path / "run")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["rt", "-p", "tests.fakes_plugin", "run", str(config), "--run-dir", run_dir])
            patch.setattr(sys, "path", [*sys.path])
            with pytest.raises(SystemExit) as end:
                main()
        return end.value.code, "".join(capfd.readouterr())

    return call


def no_key(folder: Path, out: str) -> None:
    """The key is in no file of the run directory, and was not shown."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in out


def test_a_run_without_faults_sends_one_request_a_question(tmp_path, rt_run):
    """Two a sample, each once, structured, priced; a second run sends none."""
    with FaultServer(http_answer) as server:
        config = job(tmp_path, server, limits={"budget_usd": 5.0})
        code, out = rt_run(config)
        assert (code, len(server.received), server.billed) == (0, 2 * COUNT, 2 * COUNT), out
        assert rt_run(config)[0] == 0
        assert len(server.received) == 2 * COUNT
    assert {request.body["model"] for request in server.received} == {"fake-model"}
    assert attempts(tmp_path / "run") == {("answered", ""): 2 * COUNT}
    assert len(side(tmp_path / "run")) == COUNT
    no_key(tmp_path / "run", out)


def test_the_budget_ends_the_command_and_a_larger_one_goes_on(tmp_path, rt_run):
    """Exit code 6; what the server billed at the list price stays within the budget, and is not billed again."""

    def billed(server: FaultServer) -> float:
        """Return the charge of the server in dollars, by its own count of four bytes a token."""
        total = 0.0
        for request in server.received:
            asked = sum(-(-len(message["content"].encode()) // 4) for message in request.body["messages"])
            total += 1e-6 * asked + 2e-6 * -(-len(http_answer(request.body).encode()) // 4)
        return total

    with FaultServer(http_answer) as server:
        code, out = rt_run(job(tmp_path, server, limits={"budget_usd": 0.015, "concurrency": 4}))
        assert code == 6, out
        assert "run again with a larger limits.budget_usd" in out
        first = len(server.received)
        assert 2 < first < 2 * COUNT
        assert 0.004 < billed(server) <= 0.015
        code, out = rt_run(job(tmp_path, server, limits={"budget_usd": 1.0, "concurrency": 4}))
        assert (code, len(server.received)) == (0, 2 * COUNT), out
    assert attempts(tmp_path / "run") == {("answered", ""): 2 * COUNT}


def test_a_budget_needs_a_price(tmp_path, rt_run):
    """A model that litellm has no price for: exit code 2 before anything is sent."""
    with FaultServer(http_answer) as server:
        code, out = rt_run(job(tmp_path, server, teacher=litellm_at(server), limits={"budget_usd": 1.0}))
        assert (code, server.received) == (2, [])
    assert "limits.budget_usd is set but the price of teacher 'litellm:openai/fake-model' is not known" in out
