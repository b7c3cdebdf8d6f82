"""Answers that another run directory has paid for: found, copied, and never paid for again."""

from __future__ import annotations

import json
import shutil

import pytest

from rt_framework.errors import ConfigError
from rt_framework.jobs.quoting import quote
from rt_framework.jobs.running import RunMode
from rt_framework.ledger.ledger import Ledger
from rt_framework.plugin.host import Host
from rt_framework.results import open_run
from rt_framework.testing import FakeStudent
from tests import fakes_plugin
from tests.run_helpers import SELECTIVE, Priced, attempts, go, job, outputs, rows, side


class Second(FakeStudent):
    """Another student, for a second round over the same answers."""

    fingerprint = "second-student"


@pytest.fixture
def first(tmp_path):
    """A finished run, and what it cost."""
    teacher = Priced()
    go(job(tmp_path, rows(6), SELECTIVE), tmp_path / "first", teacher)
    return tmp_path / "first", teacher


def again(tmp_path, *others, **more):
    """The same job with the answers of other run directories."""
    return job(tmp_path, rows(6), SELECTIVE, answers=[str(path) for path in others], **more)


def dry(config, run_dir):
    """The quote of a job."""
    fakes_plugin.HELD["teacher"], fakes_plugin.HELD["student"] = Priced(), FakeStudent()
    return quote(Host(modules=["tests.fakes_plugin"], only=[], strict=True), config, run_dir)


def test_a_copy_of_a_run_pays_for_nothing(first, tmp_path):
    """The quote says before what is there; the run asks nothing, spends nothing, and leaves the same outputs."""
    run_dir, paid = first
    config = again(tmp_path, run_dir)
    quoted, alone = dry(config, tmp_path / "second"), dry(again(tmp_path), tmp_path / "second")
    assert (quoted.cost.low, quoted.sends.low, quoted.answered) == (0, 0, 12)
    assert quoted.cost.high < alone.cost.high / 2  # the student may choose otherwise, since it is not asked here
    teacher = Priced()
    summary = go(config, tmp_path / "second", teacher)
    assert teacher.requests == []
    assert summary.progress.teacher.reused == len(paid.requests)
    assert summary.progress.money.spent == 0
    assert outputs(tmp_path / "second") == outputs(run_dir)


def test_a_second_student_pays_only_for_what_it_asks_beside(first, tmp_path):
    """Another choice leads to other questions about other versions; all others were paid for by the first."""
    run_dir, paid = first
    config = again(tmp_path, run_dir)
    quoted = dry(config, tmp_path / "second")
    teacher = Priced()
    go(config, tmp_path / "second", teacher, Second())
    asked = {(request.reflection, request.pair_hash) for request in paid.requests}
    assert not {(request.reflection, request.pair_hash) for request in teacher.requests} & asked
    assert teacher.paid <= dry(config, tmp_path / "third").cost.high
    assert quoted.answered >= 6


def test_what_was_found_is_copied(first, tmp_path):
    """The run directory stands alone afterwards, with the raw answers; the bill shows that it paid for none."""
    run_dir, paid = first
    go(again(tmp_path, run_dir), tmp_path / "second", Priced())
    assert attempts(tmp_path / "second") == {("answered", "copied"): len(paid.requests)}
    with open_run(tmp_path / "second", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        for history in run:
            assert all(run.reply(version) is not None for version in history.sample.versions[1:])
        bills = run.cost.bills
    assert sum(bill.requests for bill in bills) == sum(bill.usage.prompt_tokens for bill in bills) == 0
    assert sum(bill.answered for bill in bills) == len(paid.requests)
    shutil.rmtree(run_dir)
    teacher = Priced()
    go(job(tmp_path, rows(6), SELECTIVE), tmp_path / "second", teacher)
    assert teacher.requests == []


def test_equal_rows_are_copied_once(first, tmp_path):
    """Many samples that wait for one answer share one copy."""
    run_dir, _ = first
    config = job(tmp_path, rows(1) * 8, [SELECTIVE[0]], answers=[str(run_dir)])
    go(config, tmp_path / "second", Priced())
    assert attempts(tmp_path / "second") == {("answered", "copied"): 1}


def test_an_answer_that_was_withdrawn_is_not_found_again(tmp_path):
    """`rt retry` wants another answer, and not the same one from where the first came."""
    bad = Priced(lambda request: "of no use")
    go(job(tmp_path, rows(3), [SELECTIVE[0]], limits={"answers": 1}), tmp_path / "first", bad)
    config = job(tmp_path, rows(3), [SELECTIVE[0]], answers=[str(tmp_path / "first")], limits={"answers": 1})
    go(config, tmp_path / "second", Priced())
    good = Priced()
    go(config, tmp_path / "second", good, mode=RunMode(retry=("format",)))
    assert len(good.requests) == 3
    assert {line["kept"] for line in side(tmp_path / "second")} == {"original"}
    assert all("instruction" in line["scores"] or not line["failures"] for line in side(tmp_path / "second"))


def test_answers_of_another_place_are_refused(first, tmp_path):
    """Answers of a server at another address count only with ``--moved``, which says that the server has moved."""
    run_dir, _ = first
    teacher = Priced()
    teacher.place = "http://127.0.0.1:9"
    go(job(tmp_path, rows(6), SELECTIVE), tmp_path / "placed", teacher)
    other = Priced()
    other.place = "http://127.0.0.1:10"
    with pytest.raises(ConfigError, match=r"asked scripted at .*:9, and this run asks it at .*:10; if only"):
        go(again(tmp_path, tmp_path / "placed"), tmp_path / "second", other)
    assert not (tmp_path / "second/kept.json").exists()
    go(again(tmp_path, tmp_path / "placed"), tmp_path / "second", other, mode=RunMode(moved=True))
    assert other.requests == []
    go(again(tmp_path, run_dir), tmp_path / "third", other)


@pytest.mark.parametrize(
    ("path", "line"), [("nowhere", "answers: .*nowhere is no run directory"), ("second", "second: is an input of this")]
)
def test_a_path_that_holds_no_other_run_is_refused(path, line, tmp_path):
    """One line names the path; the run's own directory is none."""
    go(again(tmp_path), tmp_path / "second", Priced())
    with pytest.raises(ConfigError, match=line):
        go(again(tmp_path, tmp_path / path), tmp_path / "second", Priced())


def test_the_list_may_change_between_two_runs(first, tmp_path):
    """It is no fact of the run directory."""
    run_dir, _ = first
    go(again(tmp_path), tmp_path / "second", Priced())
    go(again(tmp_path, run_dir), tmp_path / "second", Priced())
    with Ledger.reading(tmp_path / "second/ledger.sqlite") as ledger:
        assert "answers" not in json.dumps(ledger.meta("frozen"))
