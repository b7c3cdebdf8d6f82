"""Scores that a stage or a reflection gives: declared, checked, and read by later stages as those of metrics are."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest
from attrs import evolve

from rt_framework import Dropped, Range, Rewrite, Sample, Score
from rt_framework.errors import ConfigError, PluginError
from rt_framework.kit.fences import token_of
from rt_framework.kit.form import Form, Part, sampling
from rt_framework.model import Request, Turn
from rt_framework.plugin.host import Host
from rt_framework.results import open_run
from rt_framework.testing import ScriptedTeacher
from tests import fakes_plugin
from tests.run_helpers import go, job, rows, side

MARKED = Form({"response": Part("the new response"), "clarity": Part("a mark", range(1, 6))})


class Marking:
    """A reflection whose answer has a mark for the rewrite."""

    rewrites = ("response",)
    provides = MappingProxyType({"clarity": Range(at_least=1, at_most=5)})

    def render(self, pair, index, structured):
        turn = Turn("user", "\n".join([pair.instruction, *MARKED.ask(token_of(pair), index, structured)]))
        return Request("marking", pair.hash, index, (turn,), sampling(index), MARKED.schema() if structured else None)

    def parse(self, pair, request, reply):
        answer = MARKED.read(reply, token_of(pair), request.schema is not None)
        if not hasattr(answer, "texts"):
            return answer
        return Rewrite(evolve(pair, response=answer.texts["response"]), answer.numbers)


def marks(request: Request) -> str:
    """A mark from 1 to 5 that follows from the pair."""
    number = int(request.pair_hash[:4], 16) % 5 + 1
    return json.dumps({"response": f"Well said, {request.pair_hash[:6]}.", "clarity": number})


class Stage:
    """A stage that gives a score to the current version; a test says which."""

    needs = ()
    reflections = MappingProxyType({})
    provides = MappingProxyType({"worth": Range(at_least=0)})
    gives: Any = MappingProxyType({"worth": Score(2.0)})

    def __init__(self, settings: Any, make: Any) -> None:
        pass

    async def run(self, sample: Sample, ctx: Any) -> Sample | Dropped:
        return sample.scoring({sample.current: self.gives})


@pytest.fixture
def stage(monkeypatch):
    """Puts a stage into the place of ``odd``."""

    def put(cls):
        monkeypatch.setattr(fakes_plugin, "Odd", cls)
        return {"odd": "x"}

    return put


@pytest.fixture
def marking(monkeypatch):
    """Puts the marking reflection into the place of ``plain``."""
    monkeypatch.setattr(fakes_plugin, "Plain", Marking)


@pytest.mark.usefixtures("marking")
def test_marks_of_an_answer_decide_later(tmp_path):
    """A gate reads the mark that came with the rewrite, without a student; a killed run has it from the answer."""
    stages = [{"reflect": "plain"}, {"choose": "newest"}, {"gate": {"clarity": {"at_least": 4}}}]
    config = job(tmp_path, rows(20), stages, student=None)
    go(config, tmp_path / "run", ScriptedTeacher(marks))
    lines = side(tmp_path / "run")
    given = [line["scores"]["plain"]["clarity"] for line in lines]
    assert set(given) == {1, 2, 3, 4, 5}
    assert [line["outcome"] == "rewritten" for line in lines] == [mark >= 4 for mark in given]
    silent = ScriptedTeacher(lambda request: pytest.fail("it was asked again"))
    go(config, tmp_path / "run", silent)
    assert side(tmp_path / "run") == lines


@pytest.mark.usefixtures("marking")
def test_a_selector_chooses_by_marks(tmp_path):
    """Versions without a mark cannot win, as versions without a score of a metric cannot."""
    stages = [{"reflect": "plain"}, {"choose": {"highest": "clarity"}}]
    go(job(tmp_path, rows(5), stages, student=None), tmp_path / "run", ScriptedTeacher(marks))
    assert {line["kept"] for line in side(tmp_path / "run")} == {"plain"}


PROMPT = """\
---
parts:
  response:
    meaning: the better response
    rewrites: response
  clarity:
    meaning: how clear it is
    numbers: [1, 2, 3, 4, 5]
---
Improve the response, and mark yours.

--- user ---
{{ instruction }}

{{ response }}
"""


def test_a_number_in_a_prompt_file_is_a_score(tmp_path):
    """Without a line of Python: the file asks for a mark, and a gate of the config reads it."""
    file = tmp_path / "marked.md"
    file.write_text(PROMPT)
    stages = [{"reflect": {"prompt": str(file)}}, {"choose": "newest"}, {"gate": {"clarity": {"at_least": 4}}}]
    go(job(tmp_path, rows(20), stages, student=None), tmp_path / "run", ScriptedTeacher(marks))
    lines = side(tmp_path / "run")
    assert {line["scores"]["prompt"]["clarity"] for line in lines} == {1, 2, 3, 4, 5}
    for line in lines:
        assert (line["outcome"] == "rewritten") == (line["scores"]["prompt"]["clarity"] >= 4)


def test_a_score_of_a_stage_is_read_by_a_selection_over_the_data_set(stage, tmp_path):
    """It stands in the ledger and in the side file like any other score."""
    stages = [stage(Stage), {"select": {"top": {"metric": "worth", "count": 2}}}]
    summary = go(job(tmp_path, rows(4), stages, student=None, teacher=None), tmp_path / "run")
    assert (summary.outcomes["original"], summary.outcomes["dropped"]) == (2, 2)
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        assert [history.sample.scores["original"]["worth"] for history in run] == [Score(2.0)] * 4


def test_a_score_outside_its_range_wins_no_choice(stage, tmp_path):
    """It is kept with the status that a metric's would have."""

    class Below(Stage):
        gives = MappingProxyType({"worth": Score(-1.0)})

    stages = [stage(Below), {"select": {"top": {"metric": "worth", "count": 1}}}]
    go(job(tmp_path, rows(1), stages, student=None, teacher=None), tmp_path / "run")
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        assert [history.sample.scores["original"]["worth"].status for history in run] == ["out_of_range"]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"ifd": Score(0.1)}, "gives a score 'ifd' that it does not declare in 'provides'"),
        ({"wroth": Score(None, "empty")}, "gives a score 'wroth' that it does not declare in 'provides'"),
        ({"worth": Score(float("nan"))}, "the score 'worth' must be a finite number"),
        ({"worth": Score("much")}, "the score 'worth' must be a number, not str"),
    ],
)
def test_a_score_that_was_not_declared_fails_its_sample(given, line, stage, tmp_path):
    """A stage cannot write a score of a metric, nor one that nothing could read."""

    class Wrong(Stage):
        gives = MappingProxyType(given)

    summary = go(job(tmp_path, rows(1), [stage(Wrong)], student=None, teacher=None), tmp_path / "run")
    assert summary.outcomes["failed"] == 1
    assert line in side(tmp_path / "run")[0]["reason"]


def test_a_score_of_a_version_that_does_not_exist_fails_its_sample(stage, tmp_path):
    """It could be read by nobody."""

    class Nowhere(Stage):
        async def run(self, sample, ctx):
            return evolve(sample, scores={"nowhere": self.gives})

    go(job(tmp_path, rows(1), [stage(Nowhere)], student=None, teacher=None), tmp_path / "run")
    assert "gives scores to 'nowhere'" in side(tmp_path / "run")[0]["reason"]


def test_a_score_may_not_be_called_like_a_metric(stage, tmp_path):
    """Else a gate would read the one where the other is meant."""

    class Like(Stage):
        provides = MappingProxyType({"ifd": Range()})

    with pytest.raises(PluginError, match="gives a score 'ifd', which is the name of a metric"):
        go(job(tmp_path, rows(1), [stage(Like)], student=None, teacher=None), tmp_path / "run")


def test_two_stages_may_not_give_one_score(stage, tmp_path):
    """The second would silently replace what the first has given."""
    with pytest.raises(ConfigError, match="both give a score 'worth'"):
        go(job(tmp_path, rows(1), [stage(Stage), stage(Stage)], student=None, teacher=None), tmp_path / "run")


def test_a_score_is_read_only_after_it_is_given(stage, tmp_path):
    """A stage before it has nothing to read, and the name is no metric's."""
    stages = [{"gate": {"worth": {"at_least": 1}}}, stage(Stage)]
    with pytest.raises(PluginError, match=r"pipeline\.0: unknown metric 'worth'"):
        go(job(tmp_path, rows(1), stages, student=None, teacher=None), tmp_path / "run")


def test_scores_that_a_stage_was_given_may_be_noted_again(stage, tmp_path):
    """A stage that writes down what it asked for writes nothing of its own."""

    class Noting(Stage):
        needs = ("ifd",)
        provides = MappingProxyType({})

        async def run(self, sample, ctx):
            (scores,) = await ctx.score([sample.current], ["ifd"])
            return sample.scoring({sample.current: scores})

    summary = go(job(tmp_path, rows(2), [stage(Noting)], teacher=None), tmp_path / "run")
    assert summary.outcomes["original"] == 2
