"""Commands that take up a run: asked again by kind, held back, read by what came later, allowed to have errors."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from rt_framework.config.schema import Limits
from rt_framework.ledger.ledger import Ledger
from rt_framework.ledger.schema import VERSION
from rt_framework.ledger.statements import Statement
from rt_framework.testing.server import Fault, FaultServer
from tests.helpers import the_error
from tests.older_ledgers import RECORDS, make_older
from tests.reliability.jobs import Commands, http_job
from tests.run_helpers import attempts, http_answer, rows, side

REWRITE = [{"reflect": "response"}, {"choose": "newest"}]


@pytest.fixture
def rt(monkeypatch, capfd) -> Commands:
    """The command line, in this process."""
    return Commands(monkeypatch, capfd)


def outcomes(run_dir) -> set[str]:
    return {line["outcome"] for line in side(run_dir)}


# --- rt retry ---------------------------------------------------------------------------------


def test_retry_asks_again_for_one_kind_of_failure_alone(tmp_path, rt):
    """Refused rewrites are asked for once more, cut off ones are not; the old answers stay in the ledger."""
    broken = True

    def faults(number, body):
        if not broken:
            return None
        return Fault("content_filter" if "Name 1 " in body["messages"][-1]["content"] else "length")

    with FaultServer(http_answer, faults) as server:
        config = http_job(tmp_path, server, rows(3), pipeline=REWRITE, limits={"answers": 1})
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
        assert outcomes(tmp_path / "run") == {"original"}
        broken = False
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
        assert len(server.received) == 3

        done = rt("retry", config, "--kind", "refused", "--run-dir", tmp_path / "run")
        assert done.code == 0
        assert "1 rewrites that failed as refused are asked for again" in done.out
        assert len(server.received) == 4
        assert [line["outcome"] for line in side(tmp_path / "run")] == ["original", "rewritten", "original"]

        rt("retry", config, "--kind", "truncated", "--kind", "refused", "--run-dir", tmp_path / "run")
        assert len(server.received) == 6
        assert outcomes(tmp_path / "run") == {"rewritten"}
    with closing(sqlite3.connect(tmp_path / "run" / "ledger.sqlite")) as db:
        assert db.execute("SELECT COUNT(*) FROM attempts WHERE reply IS NOT NULL").fetchone() == (6,)


def test_retry_knows_the_kinds(tmp_path, rt):
    """A word that is none is an error that names the nearest one."""
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server)
        done = rt("retry", config, "--kind", "refusd", "--run-dir", tmp_path / "run")
    assert "no such kind. Did you mean 'refused'?" in the_error(done)


# --- calls in doubt ---------------------------------------------------------------------------


async def doubt(run_dir) -> int:
    """Make the ledger as a run leaves it that was killed with all its calls under way; returns how many."""
    with Ledger.writing(run_dir / "ledger.sqlite") as ledger:
        unanswered = Statement("UPDATE calls SET answer = NULL")
        sent = Statement("UPDATE attempts SET state = 'intent', reply = NULL, cost = 0")
        await ledger.database.write([unanswered, sent])
    (run_dir / "manifest.json").unlink()  # it never came to its end
    return sum(attempts(run_dir).values())


@pytest.fixture
def doubtful(tmp_path, rt):
    """A server, a config, and a run directory whose calls are all in doubt."""
    import asyncio

    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server, rows(3), pipeline=REWRITE, teacher={"http": {"url": server.url}}, limits={})
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
        assert asyncio.run(doubt(tmp_path / "run")) == 3
        yield server, config


def test_calls_in_doubt_are_asked_again_unless_told_otherwise(doubtful, tmp_path, rt):
    """By default the run asks again, says so, and has charged them."""
    server, config = doubtful
    done = rt("run", config, "--run-dir", tmp_path / "run")
    assert "teacher calls under way when the last run was killed: 3." in done.out
    assert "those still needed are asked again" in done.out
    assert len(server.received) == 6
    assert outcomes(tmp_path / "run") == {"rewritten"}
    assert "may have been billed" in rt("status", tmp_path / "run").out


def test_calls_in_doubt_can_be_held_back(doubtful, tmp_path, rt):
    """With `hold` they are not sent, run after run; `rt retry` lets them go."""
    server, config = doubtful
    hold = ("--set", "limits.on_ambiguous=hold", "--run-dir", tmp_path / "run")
    for _ in range(2):
        done = rt("run", config, *hold)
        assert done.code == 1
        assert "3 samples met errors" in done.out
        assert len(server.received) == 3
    assert rt("retry", config, "--kind", "interrupted_unknown", *hold).code == 0
    assert len(server.received) == 6
    assert outcomes(tmp_path / "run") == {"rewritten"}
    assert attempts(tmp_path / "run") == {("answered", ""): 3, ("failed", "interrupted_unknown"): 3}


# --- the ledger of another release, and a damaged one --------------------------------------------


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_ledger_of_an_older_version_is_brought_up_to_date(tmp_path, rt, version):
    """Its answers and samples are found where they are now: nothing is asked again, no sample is there twice."""
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server, rows(3), pipeline=REWRITE)
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
        before = side(tmp_path / "run")
        make_older(tmp_path / "run" / "ledger.sqlite", version)
        assert "'rt run' brings it up to date" in the_error(rt("status", tmp_path / "run"))
        done = rt("run", config, "--run-dir", tmp_path / "run", "--reporter", "jsonl")
        assert (done.code, len(server.received)) == (0, 3)
        assert done.out.count("bringing the ledger up to date") == 1
        again = rt("run", config, "--run-dir", tmp_path / "run", "--reporter", "jsonl")
        assert "bringing" not in again.out
    assert side(tmp_path / "run") == before
    with closing(sqlite3.connect(tmp_path / "run" / "ledger.sqlite")) as db:
        counts = [db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("samples", *RECORDS)]
    assert counts == [3, 6, 0, 3, 0]


def test_after_an_unclean_end_the_ledger_is_looked_through(tmp_path, rt):
    """A damaged file is one line with a way out."""
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server, rows(40), pipeline=REWRITE)
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
        path = tmp_path / "run" / "ledger.sqlite"
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + b"\xff" * 8192 + whole[middle + 8192 :])
        (tmp_path / "run" / "run.owner").write_text("{}")
        error = the_error(rt("run", config, "--run-dir", tmp_path / "run"), 5)
    assert "damaged" in error
    assert "rt salvage" in error


# --- errors that are allowed ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "errors", "total", "too_many"),
    [
        (True, 0, 10, False),
        (True, 1, 10, True),
        (False, 10, 10, False),
        (0, 1, 10, True),
        (2, 2, 10, False),
        (2, 3, 10, True),
        (0.2, 2, 10, False),
        (0.2, 3, 10, True),
    ],
)
def test_how_many_samples_may_meet_errors(allowed, errors, total, too_many):
    """Any, none, a count, or a share."""
    assert Limits(fail_on_error=allowed).too_many(errors, total) is too_many


def test_errors_end_the_command_with_1_and_what_comes_of_answers_does_not(tmp_path, rt):
    """A provider that is down is an error and running again mends it; a refused sample is a result."""
    broken = True

    def faults(number, body):
        return Fault("server_error") if broken else Fault("content_filter")

    with FaultServer(http_answer, faults) as server:
        config = http_job(tmp_path, server, rows(4), pipeline=REWRITE, limits={"attempts": 1})
        done = rt("run", config, "--run-dir", tmp_path / "run")
        assert done.code == 1
        assert "4 samples met errors; the same command asks again for the missing answers: rt " in " ".join(
            done.out.split()
        )
        assert rt("run", config, "--run-dir", tmp_path / "run", "--set", "limits.fail_on_error=4").code == 0
        broken = False
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0


# --- rewrites that nobody takes -----------------------------------------------------------------


def test_a_pipeline_that_takes_no_rewrite_is_told_before_it_is_paid_for(tmp_path, rt):
    """By the dry run and by the run; with a stage that chooses, by neither."""
    said = "no stage after the last 'reflect' chooses between the versions"
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server, rows(2), pipeline=REWRITE[:1])
        assert said in rt("run", config, "--dry-run").out
        assert server.received == []
        assert said in rt("run", config, "--run-dir", tmp_path / "run").out
        assert outcomes(tmp_path / "run") == {"original"}
        config = http_job(tmp_path, server, rows(2), pipeline=REWRITE)
        assert said not in rt("run", config, "--run-dir", tmp_path / "chosen").out
