"""Columns of the data that stages and selectors read: declared, checked before anything is paid, and lazy."""

from __future__ import annotations

import json
from collections import Counter
from types import MappingProxyType

import pytest

from rt_framework import Dropped, Verdict
from rt_framework.errors import ConfigError
from tests import fakes_plugin
from tests.helpers import Cli
from tests.run_helpers import go, job, rows, side


class Quota:
    """A selector that keeps so many samples of each value of a column."""

    needs = ()
    columns = ("topic",)

    def select(self, rows):
        counts = Counter()
        verdicts = []
        for row in rows:
            counts[row.extra["topic"]] += 1
            verdicts.append(Verdict(counts[row.extra["topic"]] <= 2, f"number {counts[row.extra['topic']]}"))
        return verdicts


class ByTopic:
    """A stage for single samples that drops a topic."""

    needs = ()
    reflections = MappingProxyType({})
    columns = ("topic",)

    def __init__(self, settings, make):
        pass

    async def run(self, sample, ctx):
        return Dropped(sample, "topic") if sample.extra["topic"] == "t1" else sample


class SetByTopic(ByTopic):
    """The same over the whole data set."""

    async def run_all(self, samples, ctx):
        return [Dropped(sample, "topic") if sample.extra["topic"] == "t1" else sample for sample in samples]

    run = None


DATA = [{**row, "topic": f"t{number % 3}"} for number, row in enumerate(rows(9))]


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    """Puts the parts of this module into the places of others."""
    monkeypatch.setattr(fakes_plugin, "FirstHalf", Quota)
    monkeypatch.setattr(fakes_plugin, "Odd", ByTopic)


def go_over(tmp_path, pipeline, data=DATA, name="run"):
    """Run without a teacher."""
    return go(job(tmp_path, data, pipeline, teacher=None, student=None), tmp_path / name)


def test_a_stage_after_a_barrier_still_has_the_columns(tmp_path):
    """Samples wait in the ledger, and their columns on disk; both come back together."""
    go_over(tmp_path, [{"select": "first-half"}, {"odd": "x"}])
    kept = [row["topic"] for row in json.loads((tmp_path / "run/kept.json").read_text())]
    assert Counter(kept) == {"t0": 2, "t2": 2}


def test_a_stage_over_the_data_set_reads_them_too(tmp_path, monkeypatch):
    """The items of *samples* have them at each access."""
    monkeypatch.setattr(fakes_plugin, "OddSet", SetByTopic)
    summary = go_over(tmp_path, [{"odd-set": "x"}])
    assert summary.outcomes["dropped"] == 3


def test_a_column_that_is_not_there_is_refused_before_anything_is_paid(tmp_path):
    """The line names the stage, the column, and those that there are."""
    bare = [{name: value for name, value in row.items() if name != "topic"} | {"subject": 1} for row in DATA]
    with pytest.raises(
        ConfigError, match=r"'1\. odd x' reads the column 'topic', which the data lacks; it has subject"
    ):
        go_over(tmp_path, [{"odd": "x"}], bare)


def test_what_is_not_declared_is_not_there(tmp_path, monkeypatch):
    """A stage gets the columns that it asked for, so that nothing else is kept for it."""
    monkeypatch.setattr(ByTopic, "columns", ())
    summary = go_over(tmp_path, [{"odd": "x"}])
    assert summary.outcomes["failed"] == 9
    assert "KeyError: 'topic'" in side(tmp_path / "run")[0]["reason"]


def test_a_column_cannot_be_changed_by_a_stage(tmp_path, monkeypatch):
    """It is the user's, and goes to the output as it came."""

    class Writing(ByTopic):
        async def run(self, sample, ctx):
            sample.extra["topic"] = "mine"

    monkeypatch.setattr(fakes_plugin, "Odd", Writing)
    assert go_over(tmp_path, [{"odd": "x"}]).outcomes["failed"] == 9


def test_rt_select_gives_a_selector_its_columns(tmp_path, monkeypatch, capfd):
    """From the data, beside the scores of the file."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    cli = Cli(monkeypatch, capfd)
    data, scores = tmp_path / "data.json", tmp_path / "scores.jsonl"
    data.write_text(json.dumps(DATA))
    extra = ("-p", "tests.fakes_plugin")
    assert (
        cli(*extra, "score", data, "--metric", "length", "--student", "fake", "--out", scores, plugin=False).code == 0
    )
    chosen = cli(
        *extra, "select", data, "--scores", scores, "--by", "first-half", "--out", tmp_path / "o.json", plugin=False
    )
    assert chosen.code == 0, chosen
    assert Counter(row["topic"] for row in json.loads((tmp_path / "o.json").read_text())) == {"t0": 2, "t1": 2, "t2": 2}
