"""The list of a run's samples: every filter, both orders, and what a program gets."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rt_framework.results import Wanted, open_run
from rt_framework.testing.fakes import ScriptedTeacher, rewriting
from tests.helpers import REPO, Cli
from tests.run_helpers import GATES, SELECTIVE, go, job, pair, rows, side


def answer(request):
    """Rewrites, but for one pair: its answers have no form."""
    return "Sure!" if request.pair_hash == pair(3).hash else rewriting(request)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run of 30 rows, of which some were dropped, and one met answers that cannot be used."""
    folder = tmp_path_factory.mktemp("listed")
    data = [*rows(29), {"instruction": "Say nothing.", "input": "", "output": ""}]
    data[3]["input"] = ""
    pipeline = [*SELECTIVE, *GATES, {"select": {"top": {"metric": "ifd", "fraction": 0.5}}}]
    go(job(folder, data, pipeline), folder / "run", teacher=ScriptedTeacher(answer))
    return folder / "run"


@pytest.fixture
def listed(run_dir, monkeypatch, capfd):
    """The samples that the command lists with these options, as a program reads them."""
    cli = Cli(monkeypatch, capfd)

    def read(*options):
        done = cli("samples", run_dir, "--json", *options, plugin=False)
        assert (done.code, done.err) == (0, "")
        return [json.loads(line) for line in done.out.splitlines()]

    return read


@pytest.fixture
def cli(monkeypatch, capfd):
    """The command line."""
    return Cli(monkeypatch, capfd)


def test_a_program_gets_every_sample_in_order(listed, run_dir):
    """With the outcomes and reasons of the side file, and the scores of the version that the sample ended with."""
    lines, found = side(run_dir), listed()
    for key in ("row", "id", "outcome", "reason"):
        assert [one[key] for one in found] == [line[key] for line in lines]
    kept = [(one, line) for one, line in zip(found, lines, strict=True) if line["kept"]]
    assert kept
    for one, line in kept:
        assert one["version"] == line["kept"]
        assert {name: score["value"] for name, score in one["scores"].items()} == line["scores"][line["kept"]]
    assert [one["instruction"] for one in found[:3]] == [pair(number).instruction for number in range(3)]


def test_each_filter_keeps_what_it_says(listed, run_dir):
    """And all that are given have to hold."""
    lines = side(run_dir)

    def expected(holds):
        return [line["row"] for line in lines if holds(line)]

    def found(*options):
        return [one["row"] for one in listed(*options)]

    dropped = expected(lambda line: line["outcome"] == "dropped")
    assert 0 < len(dropped) < 30
    assert found("--outcome", "dropped") == dropped
    assert found("--outcome", "kept") == expected(lambda line: line["kept"])
    assert found("--outcome", "rewritten", "--outcome", "original") == found("--outcome", "kept")
    version = next(line["kept"] for line in lines if line["kept"] not in (None, "original"))
    assert found("--version", version) == expected(lambda line: line["kept"] == version)
    reason = lines[dropped[0]]["reason"]
    assert found("--reason", reason.upper()) == expected(lambda line: line["reason"] == reason)
    assert found("--failure", "format") == expected(lambda line: line["failures"]) == [3]
    assert found("--search", "BOAT 7.") == found("--search", "boat \n\t7.") == [7]
    assert 29 in found("--status", "empty")
    assert found("--search", "boat", "--failure", "format") == [3]
    assert found("--search", "boat", "--failure", "refused") == []
    assert found("--version", "\udcff") == []


def test_a_score_gives_the_order(listed):
    """Samples without that score come last; -n ends the list."""
    values = [one["scores"].get("ifd", {}).get("value") for one in listed("--highest", "ifd")]
    known = [value for value in values if value is not None]
    assert len(values) == 30 and known == sorted(known, reverse=True)
    assert values[len(known) :] == [None] * (30 - len(known))
    assert [one["scores"]["ifd"]["value"] for one in listed("--lowest", "ifd", "-n", 5)] == sorted(known)[:5]


def test_people_get_a_line_a_sample_and_the_way_on(cli, run_dir):
    """Twenty unless they say otherwise, in 120 columns at most."""
    done = cli("samples", run_dir, "--highest", "ifd")
    head, *lines, told, way = done.out.splitlines()
    assert head.split() == ["row", "id", "outcome", "version", "ifd", "r-ifd", "instruction"]
    assert len(lines) == 20 and max(map(len, lines)) <= 120
    assert told == "30 of 30 samples match; 20 of them are shown, -n 0 shows all"
    assert way == f"'rt explain {run_dir} ROW' shows what became of one of them, and why"
    row, sample_id, outcome, *_ = lines[0].split()
    (line,) = [line for line in side(run_dir) if line["row"] == int(row)]
    assert line["id"].startswith(sample_id) and line["outcome"] == outcome
    assert lines[0].endswith(pair(int(row)).instruction)
    assert len(cli("samples", run_dir, "-n", "0").out.splitlines()) == 33
    assert cli("samples", run_dir, "--search", "icebergs").out == "0 of 30 samples match\n"


def test_what_cannot_be_listed_is_told_in_a_line(cli, run_dir):
    """An order by a score that there is not, two orders, an outcome that there is not."""
    error = cli("samples", run_dir, "--lowest", "gain").error()
    assert error == f"{run_dir}: no such sample has a score by 'gain'; the stages read: ifd, r-ifd"
    assert "give one of them" in cli("samples", run_dir, "--lowest", "ifd", "--highest", "ifd").error()
    assert "'lost' is not one of" in cli("samples", run_dir, "--outcome", "lost").error()
    assert "no ledger here" in cli("samples", run_dir.parent).error()


def test_a_reader_may_leave(run_dir):
    """As ``head`` does: the command ends in silence."""
    argv = ["rt", "samples", str(run_dir), "--json"]
    code = f"import sys; sys.argv = {argv}; from rt_framework.cli import main; main()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPO, **pipes) as one:
        one.stdout.close()
        assert one.stderr.read() == b""
    assert one.returncode == 0


def test_counts_are_those_of_the_lists(run_dir):
    """The ledger counts, or texts are read."""
    with open_run(run_dir) as run:
        for wanted in (Wanted(), Wanted(outcomes=("dropped",)), Wanted(search="boat 1"), Wanted(reason="ifd")):
            assert run.count(wanted) == sum(1 for _ in run.listed(wanted))
