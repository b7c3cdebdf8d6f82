"""Metrics with constants of the whole data set: fitted where all samples are at hand, refused elsewhere."""

from __future__ import annotations

import pytest

from rt_framework import hookimpl
from rt_framework.model import Pair, Range
from rt_framework.testing import FakeStudent
from tests.helpers import Cli, json_lines, rows, the_error, write_json
from tests.scoring_helpers import PAIRS, scoring


class Centred:
    """L(y|x) minus a mean."""

    direction, valid = "none", Range()

    def __init__(self, mean):
        self._mean = mean

    def spans(self, pair, frame):
        return {"y|x": frame.response_given_instruction(pair)}

    def reduce(self, losses):
        return losses["y|x"].mean - self._mean


class AboveMean:
    """L(y|x) minus its mean over the data set."""

    direction, valid = "none", Range()

    def spans(self, pair, frame):
        return {"y|x": frame.response_given_instruction(pair)}

    def fit(self, losses):
        means = [one["y|x"].mean for one in losses]
        return Centred(sum(means) / len(means))


@hookimpl
def rt_register_metrics(register):
    register("above-mean", "tests.test_fitted_metrics:AboveMean")


@pytest.fixture
def rt(monkeypatch, capfd, tmp_path):
    """The command line, where the metric is called ``above-mean``."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "data.json", rows(9))
    cli = Cli(monkeypatch, capfd)
    return lambda *arguments: cli("-p", "tests.test_fitted_metrics", *arguments)


def config(stage):
    """A config whose pipeline is one stage."""
    return {
        "data": {"path": "data.json"},
        "student": "fake",
        "scoring": {"preset": "selective-rt"},
        "pipeline": [stage],
    }


async def test_the_fit_sees_every_pair_that_has_its_losses(ledger):
    """Nothing is computed twice, and a pair without a loss is left out of the mean."""
    student = FakeStudent()
    pairs = [*PAIRS, Pair("Say nothing.")]
    async with scoring(ledger, student, metrics={"above-mean": AboveMean()}) as chain:
        (before, *_) = await chain.score(pairs, ["above-mean"])
        assert await chain.fit(["ifd", "above-mean"], lambda: pairs) == ["above-mean"]
        found = await chain.score(pairs, ["above-mean"])
    assert before["above-mean"].status == "not_fitted"
    assert sum(one["above-mean"].value for one in found[:-1]) == pytest.approx(0, abs=1e-9)
    assert found[-1]["above-mean"].status == "empty"
    assert student.forward_spans == len(PAIRS)


def test_scored_on_the_command_line(rt, tmp_path):
    """Values lie around nought, and a second time nothing is computed."""
    arguments = ("score", "data.json", "--student", "fake", "--metric", "above-mean", "--out", "s.jsonl")
    assert rt(*arguments).code == 0
    values = [line["metrics"]["above-mean"] for line in json_lines(tmp_path / "s.jsonl")]
    assert sum(values) == pytest.approx(0, abs=1e-9) and min(values) < 0 < max(values)
    assert "0 student tokens computed" in rt(*arguments).out


def test_selected_by_in_a_run(rt, tmp_path):
    """The highest third is kept, with its values in the side file."""
    write_json(tmp_path / "rt.yaml", config({"select": {"top": {"metric": "above-mean", "count": 3}}}))
    done = rt("run", "rt.yaml")
    assert done.code == 0, done.err
    lines = json_lines(tmp_path / "runs/rt/scores.jsonl")
    values = {line["row"]: line["scores"]["original"]["above-mean"] for line in lines}
    best = sorted(values, key=values.__getitem__)[-3:]
    assert {line["row"] for line in lines if line["outcome"] == "original"} == set(best)
    assert sum(values.values()) == pytest.approx(0, abs=1e-9)


def test_refused_where_one_sample_is_at_hand(rt, tmp_path):
    """Before anything runs, naming stage and way out."""
    write_json(tmp_path / "rt.yaml", config({"gate": {"above-mean": {"above": 0}}}))
    line = the_error(rt("run", "rt.yaml"))
    assert "reads above-mean, which is fitted to the whole data set: use it in 'select'" in line
