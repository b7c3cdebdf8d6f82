"""A stage that asks the teacher for a mark: paid for once like a rewrite, and no version comes of it."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from rt_framework import Decision, Dropped, Failure, Range, Request, Sampling, Score, Turn, Unparsed, hookimpl
from tests.helpers import Cli, json_lines, rows, the_error, write_json


class Mark:
    """Asks for a mark; the fake teacher answers with a text of some length."""

    rewrites = ()

    def render(self, pair, index, structured):
        asked = Turn("user", f"Mark this: {pair.instruction} / {pair.response}")
        return Request("mark", pair.hash, index, (asked,), Sampling(temperature=index / 2))

    def parse(self, pair, request, reply):
        marks = int(request.pair_hash, 16) % 6
        return float(marks) if marks else Unparsed("format", "no mark")


class Marked:
    """Drops what is marked below three."""

    needs = ()

    def __init__(self, make):
        self._question = Mark()
        self.reflections = MappingProxyType({"mark": self._question})
        self.provides = MappingProxyType({"mark": Range()})

    async def run(self, sample, ctx):
        mark = await ctx.ask(self._question, sample.current)
        if isinstance(mark, Failure):
            return sample.failing(mark)
        sample = sample.scoring({sample.current: {"mark": Score(mark)}})
        if mark < 3:
            return Dropped(sample, "mark below 3")
        return sample.deciding(Decision("mark", (sample.kept,), sample.kept, f"mark {mark:g}"))


@hookimpl
def rt_register_stages(register):
    register("marked", "tests.test_judging:Marked", help="by a mark")


@pytest.fixture
def rt(monkeypatch, capfd, tmp_path):
    """The command line, where the stage is called ``marked``."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "data.json", rows(24))
    job = {"data": {"path": "data.json"}, "teacher": "scripted", "pipeline": ["marked"], "limits": {"answers": 2}}
    write_json(tmp_path / "rt.yaml", job)
    cli = Cli(monkeypatch, capfd)
    return lambda *arguments: cli("-p", "tests.test_judging", *arguments)


def test_marks_decide_and_are_kept(rt, tmp_path):
    """Each sample keeps its one version, its mark stands in the side file, an unusable answer was asked twice."""
    done = rt("run", "rt.yaml", "--set", "limits.fail_on_error=false")
    assert done.code == 0, done.err
    lines = json_lines(tmp_path / "runs/rt/scores.jsonl")
    marked = [line for line in lines if "original" in line["scores"]]
    unmarked = [line for line in lines if "original" not in line["scores"]]
    assert marked and unmarked
    for line in marked:
        assert line["outcome"] == ("dropped" if line["scores"]["original"]["mark"] < 3 else "original")
    assert {line["outcome"] for line in unmarked} == {"original"}
    assert f"{len(marked) + 2 * len(unmarked)} teacher calls sent, {len(unmarked)} of them retries" in done.words
    again = rt("run", "rt.yaml", "--set", "limits.fail_on_error=false")
    assert "0 teacher calls sent" in again.words
    told = [rt("explain", "runs/rt", line["row"]).out for line in (marked[0], unmarked[0])]
    assert "read by the stage" in told[0] and "not used" not in told[0]
    assert (
        "not used: the answer was unusable" in told[1]
        and "not used: format: no mark" in told[1]
        and "read by" not in told[1]
    )


def test_a_dry_run_counts_the_questions(rt):
    """One a sample, and none about versions that a mark does not make."""
    words = rt("run", "rt.yaml", "--dry-run").words
    assert "24 samples" in words
    assert "0 calls are about rewrites" not in words and "calls are about rewrites" not in words


def test_it_needs_a_teacher(rt, tmp_path):
    """As any stage that asks."""
    write_json(tmp_path / "none.yaml", {"data": {"path": "data.json"}, "pipeline": ["marked"]})
    assert "asks a teacher, but the config has no 'teacher:'" in the_error(rt("run", "none.yaml"))
