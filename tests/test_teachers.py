"""Several teachers and several draws: pipelines that a config alone describes, and an account for each teacher."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from attrs import evolve

from rt_framework import Dropped, Reply, Request, Sample, Usage
from rt_framework.config.builder import Builder
from rt_framework.config.schema import Config
from rt_framework.errors import BudgetReached, ConfigError, RtError
from rt_framework.events import Progress
from rt_framework.hookspecs import hookimpl
from rt_framework.jobs.quoting import Quote, quote
from rt_framework.jobs.running import RunMode
from rt_framework.model import digest
from rt_framework.pipeline.job import check_parts, steps_of
from rt_framework.plugin import structure
from rt_framework.plugin.host import Host
from rt_framework.results import open_run
from rt_framework.testing import FakeStudent, ScriptedTeacher
from tests import fakes_plugin
from tests.forks import start
from tests.helpers import REPO
from tests.run_helpers import attempts, go, job, outputs, rows, side, write_json

WARM = {"response": {"temperature": 0.8}}
BEST_OF_4 = [
    {"reflect": {"reflection": WARM, "draws": 4, "as": "best"}},
    {"choose": {"highest": "ifd"}},
]
TWO_TEACHERS = [
    {"reflect": {"reflection": WARM, "teacher": "strong", "draws": 4, "as": "strong"}},
    {"reflect": {"reflection": WARM, "teacher": "cheap", "draws": 4, "as": "cheap"}},
    {"choose": {"highest": "ifd"}},
]


class Named(ScriptedTeacher):
    """A teacher with a name and a price of its own, whose answers are its own, and of each draw another one."""

    def __init__(self, name: str, price: int = 1, fails: int = 8) -> None:
        super().__init__(self._counted)
        self.identity = f"named:{name}"
        self._price = price
        self._fails = fails

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Nano-dollars, at the same price for both kinds of tokens."""
        return self._price * (prompt_tokens + completion_tokens)

    def text(self, request: Request) -> str:
        """One answer in *fails* is of no use."""
        luck = int(digest([self.identity, request.pair_hash, request.draw, request.index])[:4], 16)
        words = f"{self.identity} writes {'very ' * (luck % 5)}well, draw {request.draw}"
        text = json.dumps({"critique": "Seen.", "response": f"{words}: {request.pair_hash[:8]}."})
        return text if luck % self._fails else "of no use"

    def _counted(self, request: Request) -> Reply:
        text = self.text(request)
        sent, received = sum(len(turn.content) for turn in request.messages) // 4, len(text) // 4
        return Reply(text, usage=Usage(sent, received), nano_dollars=self.cost(sent, received))

    @property
    def paid(self) -> int:
        """Nano-dollars of all answers."""
        return sum(self._counted(request).nano_dollars for request in self.requests)


def two(strong: int = 5, cheap: int = 1) -> dict[str, Named]:
    """Two teachers, put where the config finds them."""
    teachers = {"strong": Named("strong", strong), "cheap": Named("cheap", cheap)}
    fakes_plugin.HELD.update(teachers)
    return teachers


def named(**more: Any) -> dict[str, Any]:
    """Keys of a config with two teachers and no main one."""
    return {"teacher": None, "teachers": {"strong": "held:strong", "cheap": "held:cheap"}, **more}


def dry(config: Any, run_dir: Path) -> Quote:
    """The quote of a job."""
    return quote(Host(modules=["tests.fakes_plugin"], only=[], strict=True), config, run_dir)


class Last:
    """A reporter that keeps the last progress."""

    progress = Progress()

    @hookimpl
    def rt_progress(self, event: Progress) -> None:
        """Keep it."""
        self.progress = event


# --- draws ---------------------------------------------------------------------------------------


def test_best_of_four_asks_four_times_and_keeps_the_best(tmp_path):
    """Each draw is a question of its own with a seed of its own, and the student chooses among five versions."""
    teacher = Named("main", fails=10**9)
    go(job(tmp_path, rows(6), BEST_OF_4), tmp_path / "run", teacher)
    draws: dict[str, set[int]] = {}
    for request in teacher.requests:
        draws.setdefault(request.pair_hash, set()).add(request.draw)
    assert list(draws.values()) == [{0, 1, 2, 3}] * 6
    assert len({request.sampling.seed for request in teacher.requests}) == 4
    for line in side(tmp_path / "run"):
        scores = {name: scores["ifd"] for name, scores in line["scores"].items()}
        assert set(scores) == {"original", "best.1", "best.2", "best.3", "best.4"}
        assert scores[line["kept"]] == max(scores.values())


def test_one_draw_is_asked_as_it_always_was(tmp_path):
    """The answer of the first draw is found again when the stage gets a name or asks for further draws."""
    first = Named("main", fails=10**9)
    go(job(tmp_path, rows(3), [{"reflect": WARM}]), tmp_path / "run", first)
    assert len(first.requests) == 3
    second = Named("main", fails=10**9)
    stage = {"reflect": {"reflection": WARM, "as": "again"}}
    go(job(tmp_path, rows(3), [stage]), tmp_path / "run", second)
    assert second.requests == []
    third = Named("main", fails=10**9)
    go(job(tmp_path, rows(3), BEST_OF_4), tmp_path / "run", third)
    assert {request.draw for request in third.requests} == {1, 2, 3}


def test_draws_at_temperature_zero_are_refused(tmp_path):
    """They would be four times the same answer; the line says what to write instead."""
    stage = {"reflect": {"reflection": "response", "draws": 4}}
    with pytest.raises(ConfigError, match=r"at temperature 0.*\{response: \{temperature: 0\.8\}\}"):
        go(job(tmp_path, rows(1), [stage]), tmp_path / "run")


def test_each_draw_may_ask_as_often_as_the_limit_says(tmp_path):
    """A draw whose first answer is of no use asks again, without taking an answer from another draw."""
    teacher = Named("main", fails=2)
    go(job(tmp_path, rows(8), BEST_OF_4, limits={"answers": 3}), tmp_path / "run", teacher)
    asked: dict[tuple[str, int], list[Request]] = {}
    for request in teacher.requests:
        asked.setdefault((request.pair_hash, request.draw), []).append(request)
    assert len(asked) == 32
    for requests in asked.values():
        indexes = [request.index for request in requests]
        good = [teacher.text(request) != "of no use" for request in requests]
        assert indexes == list(range(len(requests)))
        assert not any(good[:-1]) and (good[-1] or len(requests) == 3)


def test_only_the_failed_draw_is_retried(tmp_path):
    """`rt retry` withdraws the answers of the draw that failed; those of its sisters were good and stay paid for."""
    teacher = Named("main", fails=3)
    config = job(tmp_path, rows(5), BEST_OF_4, limits={"answers": 1})
    go(config, tmp_path / "run", teacher)
    bad = {(request.pair_hash, request.draw) for request in teacher.requests if teacher.text(request) == "of no use"}
    assert 0 < len(bad) < 20
    again = Named("main", fails=10**9)
    go(config, tmp_path / "run", again, mode=RunMode(retry=("format",)))
    assert {(request.pair_hash, request.draw) for request in again.requests} == bad


# --- names ---------------------------------------------------------------------------------------


def test_two_stages_may_not_give_rewrites_of_one_name(tmp_path):
    """Else another text could be written than was chosen; the line says how to name them."""
    stages = [{"reflect": "response"}, {"choose": "newest"}, {"reflect": "response"}]
    with pytest.raises(ConfigError, match=r"1\. reflect response.*3\. reflect response.*'as: second'"):
        go(job(tmp_path, rows(1), stages), tmp_path / "run")


def test_a_second_round_reflects_on_what_the_first_left(tmp_path):
    """Two rounds in one config; the second asks about the version that the first choice kept."""
    stages = [
        {"reflect": "response"},
        {"choose": {"highest": "ifd"}},
        {"reflect": {"reflection": "response", "as": "second"}},
        {"choose": {"highest": "ifd"}},
    ]
    go(job(tmp_path, rows(8), stages), tmp_path / "run")
    seconds = 0
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        for history in run:
            names = [version.name for version in history.sample.versions]
            first = history.sample.decisions[0].kept
            second = "second" if first == "original" else f"{first}.second"
            assert second in names
            seconds += first != "original"
        assert list(run.stages) == ["reflect-response", "choose-highest", "second", "choose-highest-2"]
    assert seconds


def test_a_stage_of_a_third_party_cannot_give_two_versions_one_name(tmp_path, monkeypatch):
    """The sample fails with the name; no other text is written than was chosen."""

    class Twice:
        needs = ()
        reflections = MappingProxyType({})

        def __init__(self, settings: Any, make: Any) -> None:
            pass

        async def run(self, sample: Sample, ctx: Any) -> Sample | Dropped:
            again = evolve(sample.original, parent="original", reflection="x")
            return evolve(sample, versions=(*sample.versions, again))

    monkeypatch.setattr(fakes_plugin, "Odd", Twice)
    summary = go(job(tmp_path, rows(2), [{"odd": "x"}]), tmp_path / "run")
    assert summary.outcomes["failed"] == 2
    assert "two versions of a sample are called 'original'" in side(tmp_path / "run")[0]["reason"]


# --- several teachers ------------------------------------------------------------------------------


def test_two_teachers_and_the_student_chooses(tmp_path):
    """Each teacher is asked by its own stage, the student chooses among nine versions, and the accounts add up."""
    teachers, last = two(), Last()
    config = job(tmp_path, rows(6), TWO_TEACHERS, **named())
    quoted = dry(config, tmp_path / "run")
    summary = go(config, tmp_path / "run", watchers=[last])
    progress = summary.progress
    accounts = {account.name: account for account in progress.teachers}
    assert list(accounts) == ["strong", "cheap"]
    for name, teacher in teachers.items():
        assert accounts[name].counts.calls == len(teacher.requests) > 24
        assert accounts[name].money.spent == teacher.paid > 0
        assert {request.draw for request in teacher.requests} == {0, 1, 2, 3}
    assert progress.teacher.calls == sum(len(teacher.requests) for teacher in teachers.values())
    assert progress.money.spent == sum(teacher.paid for teacher in teachers.values())
    parts = {part.name: part for part in quoted.teachers}
    for name, teacher in teachers.items():
        assert parts[name].cost.low <= teacher.paid <= parts[name].cost.high
        assert len(teacher.requests) <= parts[name].sends.high
    assert quoted.cost.high == sum(part.cost.high for part in quoted.teachers)
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        bills = {bill.teacher: bill.nano_dollars for bill in run.cost.bills}
        assert bills == {teacher.identity: teacher.paid for teacher in teachers.values()}
        assert run.facts["teacher strong"] == "named:strong"
    assert dry(config, tmp_path / "run").cost.high == 0


def test_a_best_of_four_over_two_teachers_survives_kills(tmp_path):
    """Killed at ten points and resumed, it leaves the same bytes and has paid for no question twice."""
    data = rows(6)
    teachers = two()
    go(job(tmp_path, data, TWO_TEACHERS, **named()), tmp_path / "recording")
    lines = []
    for name, teacher in teachers.items():
        for request in teacher.requests:
            key = {"reflection": request.reflection, "pair": request.pair_hash, "index": request.index}
            lines.append({**key, "draw": request.draw, "teacher": name, "text": teacher.text(request)})

    def folder(name: str) -> Path:
        where = tmp_path / name
        where.mkdir()
        write_json(where / "data.json", data)
        (where / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
        replay = {name: {"replay": {"path": "answers.jsonl", "teacher": name}} for name in teachers}
        config = {"data": {"path": "data.json"}, "teachers": replay, "student": "fake", "pipeline": TWO_TEACHERS}
        write_json(where / "job.yaml", config | {"scoring": {"preset": "selective-rt"}, "limits": {"in_flight": 3}})
        return where

    whole = folder("whole")
    code, told = start(whole).wait()
    assert code == 0, told
    hurt = folder("hurt")
    killed = 0
    answered, computed = (
        "before rt_framework.ledger.attempts AttemptTable.answered",
        "after rt_framework.ledger.losses LossTable.put",
    )
    for moment in (
        *(f"{answered} {number}" for number in (1, 2, 4, 6, 7, 8, 9)),
        *(f"{computed} {n}" for n in (1, 2)),
    ):
        code, told = start(hurt, moment).wait()
        killed += code == -9
    assert killed == 9
    code, told = start(hurt).wait()
    assert code == 0, told
    assert outputs(hurt / "run") == outputs(whole / "run")
    with closing(sqlite3.connect(hurt / "run/ledger.sqlite")) as db:
        (twice,) = db.execute(
            "SELECT COUNT(*) FROM "
            "(SELECT call FROM attempts WHERE state = 'answered' GROUP BY call HAVING COUNT(*) > 1)"
        ).fetchone()
        (calls,) = db.execute("SELECT COUNT(*) FROM calls").fetchone()
    assert twice == 0
    assert calls == len(lines)


def test_a_share_of_the_budget_binds_its_teacher_alone(tmp_path):
    """The strong teacher stops at its share, and the line names the setting; the joint budget has money left."""
    teachers = two(strong=1000)
    shares = {"strong": {"part": "held:strong", "budget_usd": 0.01}, "cheap": "held:cheap"}
    config = job(tmp_path, rows(20), TWO_TEACHERS, teacher=None, teachers=shares, limits={"budget_usd": 1.0})
    with pytest.raises(BudgetReached, match=r"teachers\.strong\.budget_usd"):
        go(config, tmp_path / "run")
    assert teachers["strong"].paid <= 0.01 * 1e9
    more = {"strong": {"part": "held:strong", "budget_usd": 0.5}, "cheap": "held:cheap"}
    two(strong=1000)
    go(job(tmp_path, rows(20), TWO_TEACHERS, teacher=None, teachers=more, limits={"budget_usd": 1.0}), tmp_path / "run")


def test_the_joint_budget_binds_all_teachers_together(tmp_path):
    """Both teachers spend from one budget, so the sum of their costs stays within it."""
    teachers = two(strong=1000, cheap=1000)
    config = job(tmp_path, rows(20), TWO_TEACHERS, **named(limits={"budget_usd": 0.02}))
    with pytest.raises(BudgetReached, match=r"limits\.budget_usd"):
        go(config, tmp_path / "run")
    assert 0.01e9 < sum(teacher.paid for teacher in teachers.values()) <= 0.02e9


def test_a_teacher_that_no_stage_asks_is_not_built(tmp_path):
    """Its settings may be wrong, its key may be missing, and it is no fact of the run."""
    config = job(tmp_path, rows(1), [{"reflect": "response"}], teachers={"other": "held:nowhere"})
    go(config, tmp_path / "run")
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        assert [fact for fact in run.facts if fact.startswith("teacher")] == ["teacher"]


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        ({"teacher": "stron"}, "unknown teacher 'stron'. Did you mean 'strong'?"),
        ({}, "the config has no 'teacher:'"),
    ],
)
def test_a_stage_that_asks_nobody_is_refused(stage, line, tmp_path):
    """A misspelt name has the nearest one; a stage without a name needs the main teacher."""
    two()
    stages = [{"reflect": {"reflection": "response", **stage}}]
    with pytest.raises(ConfigError, match=line.replace("?", r"\?")):
        go(job(tmp_path, rows(1), stages, **named()), tmp_path / "run")


def test_two_names_of_one_teacher_are_refused(tmp_path):
    """Both would pay for the same questions, of which the ledger keeps one answer."""
    fakes_plugin.HELD.update(strong=Named("same"), cheap=Named("same"))
    with pytest.raises(ConfigError, match="'cheap' and 'strong' are both named:same"):
        go(job(tmp_path, rows(1), TWO_TEACHERS, **named()), tmp_path / "run")


def test_a_changed_teacher_of_a_name_is_refused(tmp_path):
    """A run directory keeps to the teacher that a name stood for in its first run."""
    two()
    go(job(tmp_path, rows(1), TWO_TEACHERS, **named()), tmp_path / "run")
    fakes_plugin.HELD["strong"] = Named("other")
    with pytest.raises(RtError, match="teacher strong: named:strong → named:other"):
        go(job(tmp_path, rows(1), TWO_TEACHERS, **named()), tmp_path / "run")


def test_an_unknown_price_of_one_teacher_is_not_a_price(tmp_path):
    """A joint budget needs every price; without one, the quote of the whole is unknown."""
    two()
    fakes_plugin.HELD["cheap"] = ScriptedTeacher(Named("free").text)
    config = job(tmp_path, rows(1), TWO_TEACHERS, **named())
    assert dry(config, tmp_path / "run").cost is None
    with pytest.raises(ConfigError, match="price of teacher 'scripted' is not known"):
        go(job(tmp_path, rows(1), TWO_TEACHERS, **named(limits={"budget_usd": 1.0})), tmp_path / "run")
    go(config, tmp_path / "run")
    assert attempts(tmp_path / "run")


def test_students_of_the_fake_kind_see_no_teacher(tmp_path):
    """Two runs of the same job with the teachers in the other order leave the same bytes."""
    two()
    go(job(tmp_path, rows(4), TWO_TEACHERS, **named()), tmp_path / "one", student=FakeStudent())
    two()
    turned = {"teacher": None, "teachers": {"cheap": "held:cheap", "strong": "held:strong"}}
    go(job(tmp_path, rows(4), TWO_TEACHERS, **turned), tmp_path / "other", student=FakeStudent())
    assert outputs(tmp_path / "one") == outputs(tmp_path / "other")


# --- the page --------------------------------------------------------------------------------------


def test_the_pipelines_of_the_page_can_be_built():
    """Each is a config but for data and student, and asks what the page says that it asks."""
    page = (REPO / "docs/how-to/ask-several-teachers.md").read_text("utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)][:5]
    asked = []
    for block in blocks:
        rest = {"data": {"path": "rows.json"}, "student": "hf:MODEL", "teacher": "litellm:openai/gpt-4o-mini"}
        config = structure(rest | block, Config)
        make = Builder(Host(only=[]))
        steps = steps_of(make, config.pipeline.specs)
        check_parts(make, steps, config)
        asked.append([(asking.name, asking.teacher, asking.draw) for step in steps for asking in step.asks])
    assert asked == [
        [("best.1", "", 0), ("best.2", "", 1), ("best.3", "", 2), ("best.4", "", 3)],
        [("strong", "strong", 0), ("cheap", "cheap", 0)],
        [("response", "", 0)],
        [("taught", "", 0), *((f"own.{draw + 1}", "self", draw) for draw in range(4))],
        [("response", "", 0), ("second", "", 0)],
    ]
