"""Duplicates cost once: requests = unique keys."""

from __future__ import annotations

import json

from rt_framework.testing import FakeStudent, ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from rt_framework.testing.server import Fault, FaultServer
from tests.reliability.jobs import http_job, questions
from tests.run_helpers import SELECTIVE, go, http_answer, job, row, side


def calls(run_dir) -> int:
    """Return the number of different questions in the ledger."""
    import sqlite3

    db = sqlite3.connect(f"{(run_dir / 'ledger.sqlite').resolve().as_uri()}?mode=ro", uri=True)
    try:
        return int(db.execute("SELECT COUNT(*) FROM calls").fetchone()[0])
    finally:
        db.close()


def test_the_server_sees_each_question_once(tmp_path, rt, size):
    """Equal rows all over a data set, many at once: one request a question, by the server's count; again, none."""
    kinds, copies = size(7, 100), size(12, 20)
    data = [row(number % kinds) for number in range(kinds * copies)]
    run_dir = tmp_path / "run"
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server, data, limits={"concurrency": 16})
        done = rt("run", config, "--run-dir", run_dir)
        assert done.code == 0, done
        asked = questions(server)
        assert set(asked.values()) == {1}
        assert len(server.received) == server.billed == calls(run_dir) == 2 * kinds
        assert rt("run", config, "--run-dir", run_dir).code == 0
        assert len(server.received) == 2 * kinds
    lines = side(run_dir)
    assert len({line["id"] for line in lines}) == len(data)
    for number in range(kinds):
        same = [json.dumps([line["kept"], line["scores"]], sort_keys=True) for line in lines[number::kinds]]
        assert len(set(same)) == 1


def test_a_failure_is_shared_as_an_answer_is(tmp_path, rt):
    """Ten equal rows, a provider that refuses the one question: asked once, and each row says why."""
    with FaultServer(http_answer, lambda number, body: Fault("policy")) as server:
        config = http_job(tmp_path, server, [row(1)] * 10, pipeline=[SELECTIVE[0]])
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
        assert len(server.received) == 1
    lines = side(tmp_path / "run")
    assert [[failure["kind"] for failure in line["failures"]] for line in lines] == [["refused"]] * 10


def test_duplicate_rows_cost_once(tmp_path):
    """Equal rows are samples of their own, and one question and one loss."""
    alone, many = FakeStudent(), FakeStudent()
    go(job(tmp_path, [row(1)], SELECTIVE), tmp_path / "one", student=alone)
    teacher = ScriptedTeacher(rewriting)
    summary = go(job(tmp_path, [row(1)] * 7, SELECTIVE), tmp_path / "run", teacher, many)
    lines = side(tmp_path / "run")
    assert [line["row"] for line in lines] == list(range(7))
    assert sum(summary.outcomes.values()) == 7
    assert len({line["id"] for line in lines}) == 7
    assert len({line["kept"] for line in lines}) == 1
    assert len(teacher.requests) == 2
    assert many.forward_spans == alone.forward_spans
