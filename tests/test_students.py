"""Several students, metrics of texts alone, and metrics with options: named in a config, read like any metric."""

from __future__ import annotations

import json
import zlib

import pytest
from attrs import evolve, field, frozen

from rt_framework import Range, Unscorable
from rt_framework.errors import ConfigError, PluginError, RtError
from rt_framework.kit.bounds import within
from rt_framework.plugin.host import Host
from rt_framework.plugin.registry import Collector
from rt_framework.results import open_run
from rt_framework.testing import FakeStudent
from tests import fakes_plugin
from tests.helpers import Cli
from tests.run_helpers import go, job, pair_of, rows, side

DELTA = [{"measure": ["ifd", "ifd@base"]}]


class Other(FakeStudent):
    """A student that finds every target easier than the fake one, by a factor."""

    fingerprint = "other-student"

    def score(self, batch):
        return [evolve(loss, nll=loss.nll / 2, token_nll=None, token_ranks=None) for loss in super().score(batch)]


class Compression:
    """A metric that needs no student: the packed length of the response as a share of its length."""

    direction = "higher"
    valid = Range(above=0)

    def value(self, pair):
        if not pair.response:
            raise Unscorable("empty", "there is no response to pack")
        text = pair.response.encode()
        return len(zlib.compress(text)) / len(text)


@frozen
class Bound:
    """Options of a metric."""

    most: int = field(default=10, validator=within(least=1))
    """Words that count."""


class Capped:
    """The words of a response, up to a bound."""

    direction = "none"
    valid = Range()

    def __init__(self, settings):
        self._most = settings.most

    def value(self, pair):
        return float(min(len(pair.response.split()), self._most))


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    """Offers the parts of this module through the plugin of the tests."""
    monkeypatch.setitem(fakes_plugin.HELD, "other", Other())
    real = fakes_plugin.rt_register_metrics

    @fakes_plugin.hookimpl
    def metrics(register):
        real(register)
        register("compression", "tests.test_students:Compression")
        register("capped", "tests.test_students:Capped", settings=Bound)

    monkeypatch.setattr(fakes_plugin, "rt_register_metrics", metrics)


def two(tmp_path, pipeline, **more):
    """A job with a second student."""
    return job(tmp_path, rows(4), pipeline, teacher=None, students={"base": "held:other"}, **more)


def test_a_metric_of_another_student_is_read_beside_the_own(tmp_path):
    """Both losses are in one ledger under their own fingerprints, and both students are facts of the run."""
    go(two(tmp_path, DELTA), tmp_path / "run")
    for line in side(tmp_path / "run"):
        own, base = (line["scores"]["original"][name] for name in ("ifd", "ifd@base"))
        assert own == pytest.approx(base**2, rel=1e-6)  # half the losses are the square root of the ratio
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        assert (run.facts["student"], run.facts["student base"]) == ("fake-student-1", "other-student")
    again = Other()
    fakes_plugin.HELD["other"] = again
    student = FakeStudent()
    go(two(tmp_path, DELTA), tmp_path / "run", student=student)
    assert (student.forward_passes, again.forward_passes) == (0, 0)


def test_selectors_and_gates_read_a_metric_of_another_student(tmp_path):
    """A name with a student behind it is usable wherever a metric's name is."""
    stages = [
        {"gate": {"ifd@base": {"at_least": 0}}},
        {"select": {"top": {"metric": "ifd@base", "count": 2, "of": "all"}}},
    ]
    go(two(tmp_path, stages), tmp_path / "run")
    lines = side(tmp_path / "run")
    best = sorted(lines, key=lambda line: -line["scores"]["original"]["ifd@base"])[:2]
    assert {line["row"] for line in lines if line["outcome"] == "original"} == {line["row"] for line in best}


def test_a_student_that_no_metric_reads_is_not_built(tmp_path):
    """Its weights may be missing, and it is no fact of the run."""
    go(job(tmp_path, rows(2), [{"measure": ["ifd"]}], students={"base": "held:nowhere"}), tmp_path / "run")
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        assert "student base" not in run.facts


@pytest.mark.parametrize(
    ("metric", "error", "line"),
    [
        ("ifd@bse", ConfigError, r"pipeline\.0: unknown student 'bse'\. Did you mean 'base'\?"),
        ("idf@base", PluginError, r"pipeline\.0: unknown metric 'idf'"),
        ("compression@base", ConfigError, "compression reads no student's losses: leave @ out"),
    ],
)
def test_a_name_that_means_nothing_is_refused(metric, error, line, tmp_path):
    """Before anything is loaded, with the nearest name."""
    with pytest.raises(error, match=line):
        go(two(tmp_path, [{"measure": [metric]}]), tmp_path / "run")


def test_two_names_of_one_student_are_refused(tmp_path):
    """Both would load the same weights, and a difference of the two would be nothing."""
    fakes_plugin.HELD["other"] = FakeStudent()
    with pytest.raises(ConfigError, match="'base' and the main student are both fake-student-1"):
        go(two(tmp_path, DELTA), tmp_path / "run")


def test_another_student_of_a_name_is_refused(tmp_path):
    """A run directory keeps to the student that a name stood for in its first run."""
    go(two(tmp_path, DELTA), tmp_path / "run")
    third = Other()
    third.fingerprint = "third-student"
    fakes_plugin.HELD["other"] = third
    with pytest.raises(RtError, match="student base: other-student → third-student"):
        go(two(tmp_path, DELTA), tmp_path / "run")


# --- metrics of texts, and with options ------------------------------------------------------------


def test_a_metric_of_texts_needs_no_student(tmp_path):
    """A whole selection without a model: nothing is loaded, and an empty response has a status."""
    data = [*rows(3), {"instruction": "Say nothing.", "input": "", "output": ""}]
    stages = [{"select": {"top": {"metric": "compression", "count": 1, "of": "all"}}}]
    go(job(tmp_path, data, stages, teacher=None, student=None), tmp_path / "run")
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        scores = [history.sample.scores["original"]["compression"] for history in run]
        assert "student" not in run.facts
    assert [score.status for score in scores] == ["ok"] * 3 + ["empty"]
    assert scores[0].value == Compression().value(pair_of(data[0]))


def test_a_metric_with_options_has_a_name_in_the_config(tmp_path):
    """The same metric with two sets of options, and the plain one, side by side."""
    metrics = {"two": {"capped": {"most": 2}}, "three": {"capped": 3}}
    stages = [{"measure": ["two", "three", "capped"]}]
    go(job(tmp_path, rows(1), stages, teacher=None, student=None, metrics=metrics), tmp_path / "run")
    (line,) = side(tmp_path / "run")
    assert line["scores"]["original"] == {"two": 2, "three": 3, "capped": 7}


@pytest.mark.parametrize(
    ("metrics", "line"),
    [
        ({"ifd": {"capped": 2}}, "'ifd' is the name of a metric already"),
        ({"two": {"capped": {"most": 0}}}, r"pipeline\.0: metric 'capped'.*most must be at least 1"),
        ({"a@b": "capped"}, "metrics: 'a@b' cannot name a metric"),
    ],
)
def test_options_that_do_not_fit_are_one_line(metrics, line, tmp_path):
    """With the place of the stage that reads them."""
    stages = [{"measure": ["two"]}]
    with pytest.raises(RtError, match=line):
        go(job(tmp_path, rows(1), stages, teacher=None, student=None, metrics=metrics), tmp_path / "run")


# --- rt score --------------------------------------------------------------------------------------


@pytest.fixture
def score(tmp_path, monkeypatch, capfd):
    """Calls ``rt score`` over four rows; returns its exit code, its lines and what it prints."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    (tmp_path / "data.json").write_text(json.dumps(rows(4)), "utf-8")
    out, cli = tmp_path / "scores.jsonl", Cli(monkeypatch, capfd)

    def call(*arguments):
        where = (str(tmp_path / "data.json"), "--out", str(out))
        ended = cli("-p", "tests.fakes_plugin", "score", *where, *arguments, plugin=False)
        lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
        return ended.code, lines, ended.out + ended.err

    return call


def test_rt_score_needs_a_student_only_where_losses_are_read(score):
    """Texts alone are scored without one; a metric of losses says that it needs one."""
    code, lines, text = score("--metric", "compression", "--metric", "two={capped: {most: 2}}")
    assert (code or 0, len(lines)) == (0, 4), text
    assert [line["metrics"]["two"] for line in lines] == [2.0] * 4
    assert all(line["losses"] == {} and line["status"] == "ok" for line in lines)
    code, _, text = score("--metric", "ifd", "--overwrite")
    assert code == 2
    assert "metric ifd reads a student's losses: name a student" in text


def test_rt_score_reads_several_students(score):
    """The losses of a named student have its name behind theirs."""
    fakes_plugin.HELD["student"] = FakeStudent()
    code, lines, text = score(
        *("--student", "held:student", "--student-also", "base=held:other"),
        *("--preset", "selective-rt", "--metric", "ifd", "--metric", "ifd@base"),
    )
    assert (code or 0) == 0, text
    assert set(lines[0]["losses"]) == {"y|x", "y", "y|x@base", "y@base"}
    assert lines[0]["losses"]["y"]["nll"] == pytest.approx(2 * lines[0]["losses"]["y@base"]["nll"])


@pytest.mark.parametrize("text", ["base", "base=", "=held:other"])
def test_a_further_student_has_a_name(text, score):
    """The line says the form."""
    code, _, printed = score("--student", "held:student", "--student-also", text)
    assert code == 2
    assert "expected NAME=PLUGIN" in printed


@pytest.mark.parametrize("name", ["a@b", "a/b", "a:b"])
def test_a_plugin_may_not_offer_a_name_that_could_mean_another(name):
    """``ifd@base`` is a metric of a student, ``metric/name`` a metric's loss, ``name:value`` a part with an option."""
    with pytest.raises(PluginError, match="which stand behind names"):
        Collector("metrics", "x")(name, "tests.test_students:Compression")
