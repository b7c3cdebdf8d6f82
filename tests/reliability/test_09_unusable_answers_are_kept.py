"""Promise 9: paid but unusable answers are kept."""

from __future__ import annotations

from rt_framework.testing.server import FaultServer
from tests.reliability.jobs import http_job
from tests.run_helpers import rows, side


def test_a_better_parser_changes_the_result_without_a_request(tmp_path, rt, monkeypatch):
    """`rt reparse` reads every stored answer anew: what could not be read is a rewrite now, for nothing."""
    with FaultServer(lambda body: "Answer: a cork that floats on water and a leaf.") as server:
        pipeline = [{"reflect": "plain"}, {"choose": "newest"}]
        config = http_job(tmp_path, server, rows(6), pipeline=pipeline, limits={"answers": 1, "concurrency": 4})
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
        assert {line["outcome"] for line in side(tmp_path / "run")} == {"original"}
        assert {failure["kind"] for line in side(tmp_path / "run") for failure in line["failures"]} == {"format"}
        assert server.billed == 6

        monkeypatch.setenv("RT_TEST_LENIENT", "1")
        done = rt("reparse", config, "--run-dir", tmp_path / "run")
        assert done.code == 0
        assert "the teacher is not asked" in done.out
        assert {line["outcome"] for line in side(tmp_path / "run")} == {"rewritten"}
        assert len(server.received) == 6


def test_reparse_never_asks(tmp_path, rt):
    """A question without an answer is a failure with a name, and the next run asks it."""
    with FaultServer(lambda body: "{}") as server:
        config = http_job(tmp_path, server, rows(4), limits={"answers": 1})
        rt("run", config, "--run-dir", tmp_path / "run", "--limit", "1")
        asked = len(server.received)
        done = rt("reparse", config, "--run-dir", tmp_path / "run")
        assert done.code == 0
        assert len(server.received) == asked > 0
        assert "no_answer" in done.out
        rt("run", config, "--run-dir", tmp_path / "run")
        assert len(server.received) == 4 * asked
