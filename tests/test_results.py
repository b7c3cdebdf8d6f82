"""A finished run, read by others: from any directory, one sample at a time, in the words of its ledger."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
from attrs import evolve

import rt_framework
from rt_framework.builtin.formats.jsonl import JsonlFormat
from rt_framework.config import Builder, Data
from rt_framework.data import open_source
from rt_framework.errors import DataError
from rt_framework.events import Summary
from rt_framework.ledger import SampleHistory
from rt_framework.plugin import Host
from rt_framework.results import holds_run, open_run
from rt_framework.rundir import open_outlet
from tests.run_helpers import GATES, SELECTIVE, go, job, json_lines, rows, side


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run in which some samples were dropped."""
    folder = tmp_path_factory.mktemp("finished")
    pipeline = [*SELECTIVE, *GATES, {"select": {"top": {"metric": "ifd", "fraction": 0.5}}}]
    go(job(folder, rows(9), pipeline), folder / "run")
    return folder / "run"


def test_it_is_the_front_door():
    """The name is there without anything else being loaded for it."""
    assert rt_framework.open_run is open_run
    with pytest.raises(AttributeError, match="no attribute 'open_door'"):
        rt_framework.open_door  # noqa: B018 - looked up
    check = "import rt_framework, sys; sys.exit('rt_framework.results' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_samples_come_with_all_that_the_side_file_says(run_dir):
    """By row; and each can be looked up by row, id, or the beginning of its id."""
    lines = side(run_dir)
    with open_run(run_dir) as run:
        histories = list(run)
        assert [(one.sample.id, one.sample.row, one.outcome, one.reason) for one in histories] == [
            (line["id"], line["row"], line["outcome"], line["reason"]) for line in lines
        ]
        assert [[decision.stage for decision in one.sample.decisions] for one in histories] == [
            [decision["stage"] for decision in line["decisions"]] for line in lines
        ]
        numbers = [
            {name: {metric: score.value for metric, score in own.items()} for name, own in one.sample.scores.items()}
            for one in histories
        ]
        assert numbers == [line["scores"] for line in lines]
        assert {decision.stage for one in histories for decision in one.sample.decisions} <= run.stages.keys()
        third = histories[2]
        for which in (2, "2", third.sample.id, third.sample.id[:16]):
            assert run.sample(which) == third
        assert [outcome for _, outcome, *_ in run.outcomes()] == [one.outcome for one in histories]
        rewrite = next(version for version in third.sample.versions if version.call)
        assert run.reply(rewrite).text
        assert run.reply(third.sample.original) is None
        assert run.original_scores(third.sample.id) == numbers[2]["original"]
        assert rewrite.call in {call.key for call in run.calls(third)}


@pytest.mark.parametrize(
    ("which", "message"),
    [
        (9, r"row 9 \(from 0\) is not among the samples of the last run"),
        ("zz", "no sample matches 'zz'; give an id or a row number"),
        ("", "9 samples match ''; give an id or a row number"),
        ("\udcff", "no sample matches"),
    ],
)
def test_a_sample_that_is_not_there_is_told(run_dir, which, message):
    """With the directory in front."""
    with open_run(run_dir) as run, pytest.raises(DataError, match=message):
        run.sample(which)


def test_records_are_those_that_the_run_wrote(run_dir):
    """Kept and dropped, in the order of the input, with the columns of the input."""
    with open_run(run_dir, Host(only=[])) as run:
        for name, kept in (("kept.json", True), ("dropped.json", False)):
            written = [record for _, record in open_source(Host(only=[]), Data(str(run_dir / name)))]
            assert [(one.pair, one.extra) for one in run.records(kept)] == [(one.pair, one.extra) for one in written]
            assert written


def test_the_run_itself_is_told(run_dir):
    """Manifest, config, summary, facts and cost."""
    with open_run(run_dir) as run:
        assert run.manifest["config"]["teacher"] == {"held": "teacher"}
        assert run.config.student.name == "held"
        assert isinstance(run.summary, Summary)
        assert run.summary.total == 9
        assert run.facts["data"]["shape"] == "alpaca"
        assert [bill.reflection for bill in run.cost.bills] == ["instruction", "response"]
        assert (run.cost.dollars, run.cost.doubtful, run.is_pilot) == (run.cost.nano_dollars / 1e9, 0, False)
        assert [effort["requests"] for effort in run.efforts] == [sum(bill.requests for bill in run.cost.bills)]


def test_a_pilot_is_read_but_gives_no_records(tmp_path):
    """Its rows alone are not the data set."""
    go(job(tmp_path, rows(6), SELECTIVE), tmp_path / "run", pilot=3)
    with open_run(tmp_path / "run") as run:
        assert (run.is_pilot, run.summary.total, len(list(run))) == (True, 3, 3)
        with pytest.raises(DataError, match="the last run was a pilot of some rows; 'rt run' goes on with all"):
            run.records()


def test_data_at_a_relative_path_is_told_where_it_was_looked_for(tmp_path, monkeypatch):
    """And found again from the directory of the run."""
    monkeypatch.chdir(tmp_path)
    config = job(tmp_path, rows(3), SELECTIVE)
    go(evolve(config, data=evolve(config.data, path="data.json")), tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with open_run(tmp_path / "run") as run:
        assert len(list(run)) == 3, "samples need no data"
        with pytest.raises(DataError) as told:
            run.records()
    assert str(told.value) == (
        f"data.json: no such file in {tmp_path}/elsewhere; the run in {tmp_path}/run names its data by this relative "
        "path: change to the directory in which the run was started, and try again"
    )
    monkeypatch.chdir(tmp_path)
    with open_run("run") as run:
        assert len(list(run.records())) == 3


# --- outputs ----------------------------------------------------------------------------------


def test_a_format_that_stops_early_does_not_cut_off_the_other_output(tmp_path, monkeypatch):
    """The dropped rows are all there, though the kept ones are not."""
    write = JsonlFormat.write

    def careless(self, path, found):
        write(self, path, (next(iter(found)) for _ in range(1)) if path.name.startswith("kept") else found)

    monkeypatch.setattr(JsonlFormat, "write", careless)
    pipeline = [{"select": {"random": {"count": 4}}}]
    go(job(tmp_path, rows(9), pipeline, output={"format": "jsonl"}), tmp_path / "run")
    assert [len(json_lines(tmp_path / "run" / f"{name}.jsonl")) for name in ("kept", "dropped")] == [1, 5]


def test_a_value_that_cannot_wait_on_disk_is_named_before_anything_is_asked(tmp_path, monkeypatch):
    """A format of a plugin may read anything."""
    (tmp_path / "data.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    read = JsonlFormat.read_with
    monkeypatch.setattr(
        JsonlFormat, "read_with", lambda *given: (dict(row) | {"odd": lambda: 1} for row in read(*given))
    )
    monkeypatch.setattr(JsonlFormat, "prepare", lambda self, found, *_: list(found))
    source = open_source(Host(only=[]), Data(str(tmp_path / "data.jsonl")))
    message = r"data\.jsonl: row 0 \(from 0\): column 'odd' holds a value of type function that cannot be copied"
    with pytest.raises(DataError, match=message):
        open_outlet(Builder(Host(only=[])), source)


def test_kept_is_rewritten_or_original():
    """Not what waits, was dropped or failed."""
    outcomes = ("rewritten", "original", "dropped", "failed", "waiting")
    kept = [SampleHistory(SimpleNamespace(), outcome, None).is_kept for outcome in outcomes]
    assert kept == [True, True, False, False, False]


def test_a_run_directory_is_told_from_other_paths(tmp_path):
    """By its ledger, which is there from the beginning of a run."""
    (tmp_path / "ledger.sqlite").touch()
    assert holds_run(tmp_path)
    assert not holds_run(tmp_path / "none") and not holds_run(tmp_path / "ledger.sqlite")
