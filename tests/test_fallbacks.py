"""Fallbacks: a question that a teacher cannot do goes to the next one, counted and paid for once.

The server answers for several models and counts what each of them was asked and billed.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rt_framework import run
from rt_framework.config import Config, read_config
from rt_framework.errors import FALLBACK_KINDS, KINDS, BudgetReached, ConfigError, TeacherError
from rt_framework.jobs.quoting import quote
from rt_framework.jobs.running import RunMode
from rt_framework.kit.parts import Spec
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Reply, Request, digest
from rt_framework.plugin import structure
from rt_framework.plugin.host import Host
from rt_framework.results import open_run
from rt_framework.rundir.manifest import plain_config
from rt_framework.teacher import batch_exchange, batch_state, sending
from rt_framework.testing import FakeStudent, Fault, ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from rt_framework.testing.server import FaultServer
from rt_framework.testing.wire import tokens
from tests import fakes_plugin
from tests.forks import start
from tests.helpers import the_error
from tests.reliability.jobs import Commands, http_job, priced_at
from tests.reliability.test_23_the_quote_is_a_bound import moody, pipeline
from tests.run_helpers import Priced, attempts, go, http_answer, job, outputs, rows, side

REFLECT = [{"reflect": "response"}, {"choose": "newest"}]
FORMLESS = "I will write as I like."

GOES = {
    0: ("policy", "refused"),
    1: ("content_filter", "refused"),
    2: ("too_long", "too_long"),
    3: ("length", "truncated"),
    4: ("empty", "empty"),
    5: ("formless", "format"),
}
"""Rows whose question goes on: what the first model does with it, and the kind of failure that this is."""

STAYS = {6: ("bad_request", "bad_request"), 7: ("server_error", "overloaded"), 8: ("bad_json", "paid_unreadable")}
"""Rows whose question does not."""

COUNT = 12


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setattr(sending, "backoff", lambda attempt, retry_after: 0.0)
    monkeypatch.setattr(batch_state, "_QUIET", 0.1)
    monkeypatch.setattr(batch_exchange, "_SOONEST", 0.05)
    monkeypatch.setattr(batch_exchange, "_GRACE", 0.5)


@pytest.fixture
def rt(monkeypatch, capfd) -> Commands:
    """The command line, in this process."""
    return Commands(monkeypatch, capfd)


def row_of(body: Mapping[str, Any]) -> int:
    """The number of the row that a question is about."""
    found = re.search(r"Name (\d+) things", json.dumps(body["messages"]))
    assert found
    return int(found[1])


def told(body: Mapping[str, Any]) -> str:
    """A usable answer in the form that was asked for, which names the model that gave it."""
    if "response_format" in body:
        return json.dumps({**json.loads(http_answer(body)), "response": f"Written by {body['model']}: {row_of(body)}."})
    marks = re.findall(r"\[\[[a-z]+ [0-9a-f]{8}\]\]", body["messages"][-1]["content"])
    return "\n".join(f"{mark}\nWritten by {body['model']}: {row_of(body)}." for mark in marks[:-1]) + f"\n{marks[-1]}"


def server(plans: Mapping[str, Mapping[int, tuple[str, str]]], **more: Any) -> FaultServer:
    """A server whose models meet these faults, by row; ``formless`` is an answer in no form."""

    def plan(body: Mapping[str, Any]) -> str | None:
        return plans.get(body["model"], {}).get(row_of(body), (None, ""))[0]

    def fault(_: int, body: dict[str, Any]) -> Fault | None:
        name = plan(body)
        return None if name in {None, "formless"} else Fault(name)

    return FaultServer(lambda body: FORMLESS if plan(body) == "formless" else told(body), fault, **more)


def teacher_at(at: FaultServer, model: str, **options: Any) -> dict[str, Any]:
    """The teacher that asks one of the server's models."""
    return priced_at(at, model=f"openai/{model}", **options)


def fallback_job(folder: Path, at: FaultServer, count: int = COUNT, **more: Any) -> Path:
    """A config whose main teacher, the first model, has the second as its fallback."""
    teachers = {
        "teacher": {"part": teacher_at(at, "first"), "fallback": "second"},
        "teachers": {"second": teacher_at(at, "second", output_price=8.0)},
    }
    limits = {"concurrency": 4, "attempts": 1, "fail_on_error": False}
    return http_job(folder, at, rows(count), **teachers | {"pipeline": REFLECT, "limits": limits} | more)


def by_model(at: FaultServer) -> dict[str, Counter[int]]:
    """Requests to each model, by row."""
    counts: dict[str, Counter[int]] = {}
    for request in at.received:
        counts.setdefault(request.body["model"], Counter())[row_of(request.body)] += 1
    return counts


def writers(run_dir: Path) -> dict[int, str]:
    """The model that wrote each row's rewrite; empty where there is none."""
    written = {}
    with open_run(run_dir, Host(modules=["tests.fakes_plugin"], only=[])) as run:
        for history in run:
            found = re.match(r"Written by (\S+):", history.sample.versions[-1].pair.response)
            written[history.sample.row] = found[1] if found else ""
    return written


# --- which questions go on -------------------------------------------------------------------------


def test_what_a_teacher_cannot_do_goes_to_its_fallback_and_nothing_else(tmp_path, rt):
    """Refusals, filters, long prompts and useless answers go on; what the setup may be to blame for does not."""
    with server({"first": {**GOES, **STAYS}}) as at:
        config = fallback_job(tmp_path, at)
        done = rt("run", config, "--run-dir", tmp_path / "run")
        assert done.code == 0, done.out + done.err
        asked = by_model(at)
        assert asked["second"] == Counter(dict.fromkeys(GOES, 1))
        assert asked["first"] == Counter(
            {row: 2 if GOES.get(row, ("", ""))[1] in CHANGED else 1 for row in range(COUNT)}
        )
        again = rt("run", config, "--run-dir", tmp_path / "run")
        more = {name: by_model(at)[name] - counts for name, counts in asked.items()}
        assert more == {"first": Counter(dict.fromkeys(STAYS, 1)), "second": Counter()}, "only what went wrong"
    expected = {row: "second" if row in GOES else "" if row in STAYS else "first" for row in range(COUNT)}
    assert writers(tmp_path / "run") == expected
    for kind in ("empty", "format", "too_long", "truncated"):
        assert f"teacher second {kind} {KINDS[kind].meaning} 1" in done.words
    assert f"teacher second refused {KINDS['refused'].meaning} 2" in done.words
    assert "Questions that went to the fallback" in again.out
    assert "; its fallback is second" in again.out


CHANGED = {"truncated", "empty", "format"}
"""Kinds after which the same teacher is asked once more, with a changed request."""


def test_no_kind_that_may_show_a_broken_setup_goes_on():
    """A kind that stops the run, or that the connection or the provider's state causes, says nothing of a question."""
    assert {"refused", "too_long", "all_reasoning", *CHANGED} == FALLBACK_KINDS
    assert not [name for name in FALLBACK_KINDS if KINDS[name].fatal]


@pytest.mark.parametrize("fault", ["auth", "quota", "no_model"])
def test_a_broken_setup_stops_the_run(fault, tmp_path, rt):
    """Exit code 3, and the fallback is never asked."""
    with server({"first": dict.fromkeys(range(COUNT), (fault, ""))}) as at:
        done = rt("run", fallback_job(tmp_path, at), "--run-dir", tmp_path / "run")
        assert done.code == 3
        assert "second" not in by_model(at)


def test_a_reached_budget_does_not_go_on(tmp_path):
    """The first teacher's share is used up: the run stops, and the fallback's money stays where it is."""
    fakes_plugin.HELD.update(second=Named("second"))
    teachers = {"teacher": {"part": "held:teacher", "budget_usd": 1e-6, "fallback": "second"}}
    config = job(tmp_path, rows(3), REFLECT, **teachers, teachers={"second": "held:second"})
    with pytest.raises(BudgetReached, match=r"larger teacher\.budget_usd"):
        go(config, tmp_path / "run", Named("first"))
    assert fakes_plugin.HELD["second"].requests == []


class Named(Priced):
    """A priced teacher with a name, which refuses what *refuses* says; structured, or not."""

    def __init__(
        self, name: str, answer: Any = rewriting, refuses: Any = lambda _: None, structured: bool = True
    ) -> None:
        super().__init__(answer)
        self.identity = f"named:{name}"
        self.structured = structured
        self._refuses = refuses

    async def complete(self, request: Request) -> Reply:
        """The answer, or the failure of that kind."""
        kind = self._refuses(request)
        if kind is not None:
            self.requests.append(request)
            raise TeacherError(kind, "cannot do it")
        return await super().complete(request)


def three(**refusing: Any) -> dict[str, Named]:
    """Three teachers, each of which refuses as told, put where a config finds them: a → b → c."""
    teachers = {name: Named(name, refuses=refusing.get(name, lambda _: None)) for name in "abc"}
    fakes_plugin.HELD.update(teachers)
    return teachers


def chain_job(tmp_path: Path, count: int = 4, **more: Any) -> Config:
    """A job that asks a, whose fallback is b, whose fallback is c."""
    keys = {
        "teacher": None,
        "teachers": {
            "a": {"part": "held:a", "fallback": "b"},
            "b": {"part": "held:b", "fallback": "c"},
            "c": "held:c",
        },
    }
    pipeline = [{"reflect": {"reflection": "response", "teacher": "a"}}, {"choose": "newest"}]
    return job(tmp_path, rows(count), pipeline, **keys | more)


def always(kind: str) -> Any:
    """A teacher's refusal of everything."""
    return lambda _: kind


def test_fallbacks_form_a_chain(tmp_path):
    """A question that a and b cannot do goes to c; the accounts and the sample say so."""
    teachers = three(a=always("refused"), b=always("too_long"))
    summary = go(chain_job(tmp_path), tmp_path / "run")
    assert [len(teacher.requests) for teacher in teachers.values()] == [4, 4, 4]
    assert [(one.teacher, one.fallback, one.kind, one.questions) for one in summary.handovers] == [
        ("a", "b", "refused", 4),
        ("b", "c", "too_long", 4),
    ]
    accounts = {one.name: one.counts.to_fallback for one in summary.progress.teachers}
    assert accounts == {"a": {"refused": 4}, "b": {"too_long": 4}, "c": {}}
    assert summary.progress.teacher.to_fallback == {"refused": 4, "too_long": 4}
    line = side(tmp_path / "run")[0]
    assert [(one["version"], one["teacher"], one["fallback"], one["kind"]) for one in line["handovers"]] == [
        ("response", "a", "b", "refused"),
        ("response", "b", "c", "too_long"),
    ]


def test_the_last_failure_is_the_samples(tmp_path):
    """All three fail: the sample continues with its text, and its failure is that of the last teacher."""
    teachers = three(a=always("refused"), b=always("refused"), c=always("too_long"))
    summary = go(chain_job(tmp_path), tmp_path / "run")
    assert summary.failures == {"too_long": 4}
    assert summary.outcomes["original"] == 4
    again = three(a=always("refused"), b=always("refused"))
    go(chain_job(tmp_path), tmp_path / "run")
    assert teachers["c"].requests
    assert [len(teacher.requests) for teacher in again.values()] == [0, 0, 4], "the last one is asked as a lone one is"


def test_equal_questions_are_counted_once(tmp_path):
    """Three equal rows make one question, which goes to the fallback once."""
    teachers = three(a=always("refused"))
    data = [rows(1)[0]] * 3
    config = evolve(chain_job(tmp_path), data=job(tmp_path, data, REFLECT).data)
    summary = go(config, tmp_path / "run")
    assert [len(teacher.requests) for teacher in teachers.values()] == [1, 1, 0]
    assert [one.questions for one in summary.handovers] == [1]
    assert summary.progress.teacher.to_fallback == {"refused": 1}


def test_a_run_without_fallbacks_is_what_it_was(tmp_path):
    """No line and no key more, and a refusal without an answer is asked again."""
    teachers = three(a=always("refused"))
    teachers_alone = {"a": "held:a"}
    summary = go(chain_job(tmp_path, teachers=teachers_alone), tmp_path / "run")
    assert summary.handovers == ()
    assert "handovers" not in side(tmp_path / "run")[0]
    go(chain_job(tmp_path, teachers=teachers_alone), tmp_path / "run")
    assert len(teachers["a"].requests) == 8
    go(chain_job(tmp_path), tmp_path / "run")
    assert len(teachers["a"].requests) == 8, "with a fallback a refusal of before stands"
    assert len(teachers["b"].requests) == 4


# --- the question at the fallback --------------------------------------------------------------------


def test_a_fallback_may_want_another_form(tmp_path, rt):
    """The first model follows a schema and the second does not: the question is rendered again for it."""
    with server({"first": {0: GOES[0], 5: GOES[5]}}) as at:
        plain = teacher_at(at, "second", structured=False)
        done = rt("run", fallback_job(tmp_path, at, teachers={"second": plain}), "--run-dir", tmp_path / "run")
        assert done.code == 0, done.out + done.err
        forms = {(one.body["model"], "response_format" in one.body) for one in at.received}
    assert forms == {("first", True), ("second", False)}
    assert [row for row, model in writers(tmp_path / "run").items() if model == "second"] == [0, 5]


def test_a_question_in_steps_begins_again(tmp_path, rt):
    """The first model refuses in the second step; the second is asked all three, without a word of the first."""

    def fault(_: int, body: dict[str, Any]) -> Fault | None:
        refuses = body["model"] == "first" and len(body["messages"]) == 3 and row_of(body) == 1
        return Fault("policy") if refuses else None

    with FaultServer(told, fault) as at:
        steps = [{"reflect": {"rounds": {"steps": 3}}}, {"choose": "newest"}]
        config = fallback_job(tmp_path, at, 3, pipeline=steps)
        done = rt("run", config, "--run-dir", tmp_path / "run")
        assert done.code == 0, done.out + done.err
        assert by_model(at) == {"first": Counter({0: 3, 1: 2, 2: 3}), "second": Counter({1: 3})}
        bodies = [one.body for one in at.received if one.body["model"] == "second"]
        assert [len(body["messages"]) for body in bodies] == [1, 3, 5]
        assert "Written by first" not in json.dumps(bodies)
        rt("run", config, "--run-dir", tmp_path / "run")
        assert len(at.received) == 11
    assert writers(tmp_path / "run") == {0: "first", 1: "second", 2: "first"}


@pytest.mark.parametrize("batched", ["first", "second"])
def test_either_side_may_go_in_batches(batched, tmp_path, rt):
    """A batch's refused lines are asked live, and refused live questions are asked in a batch."""
    with server({"first": {row: GOES[row] for row in (0, 1, 2)}}) as at:
        keys = {
            "teacher": {"part": teacher_at(at, "first", batch=batched == "first"), "fallback": "second"},
            "teachers": {"second": teacher_at(at, "second", batch=batched == "second")},
        }
        config = fallback_job(tmp_path, at, **keys)
        done = rt("run", config, "--run-dir", tmp_path / "run")
        assert done.code == 0, done.out + done.err
        assert by_model(at)["second"] == Counter({0: 1, 1: 1, 2: 1})
        assert {one.body["model"] for one in at.received if one.in_batch} == {batched}
        asked = len(at.received)
        rt("run", config, "--run-dir", tmp_path / "run")
        assert len(at.received) == asked


class Generating(FakeStudent):
    """A student that answers too, and refuses rows of an even number."""

    def generate(self, requests: Any) -> list[Any]:
        """A usable answer, or none in any form."""
        return [Reply(rewriting(one) if int(one.pair_hash[:2], 16) % 2 else FORMLESS) for one in requests]


@pytest.mark.parametrize("own", ["first", "fallback"])
def test_the_student_may_be_on_either_side(own, tmp_path):
    """A teacher is asked where the student's own answer is of no use, or the other way round."""
    other = Named("other", refuses=lambda one: None if own == "first" or int(one.pair_hash[:2], 16) % 3 else "refused")
    fakes_plugin.HELD.update(other=other)
    asked = {"self": {"part": "student"}, "other": {"part": "held:other"}}
    first, second = ("self", "other") if own == "first" else ("other", "self")
    asked[first]["fallback"] = second
    pipeline = [{"reflect": {"reflection": "response", "teacher": first}}, {"choose": "newest"}]
    config = job(tmp_path, rows(16), pipeline, teacher=None, teachers=asked)
    summary = go(config, tmp_path / "run", student=Generating())
    (handed,) = summary.handovers
    assert (handed.teacher, handed.fallback) == (first, second)
    assert 0 < handed.questions < 16
    assert handed.kind == ("format" if own == "first" else "refused")


# --- stopped and resumed ------------------------------------------------------------------------------


KILLS = (
    "before rt_framework.ledger.attempts AttemptTable.failed 1",
    "after rt_framework.ledger.attempts AttemptTable.failed 1",
    "before rt_framework.ledger.handovers HandoverTable.note 3",
    "after rt_framework.ledger.handovers HandoverTable.note 4",
    "before rt_framework.ledger.attempts AttemptTable.intend 8",
    "after rt_framework.ledger.attempts AttemptTable.answered 3",
)


def test_a_killed_run_asks_nothing_twice(tmp_path):
    """Killed at six moments and resumed: no answer and no refusal is asked for twice but what was under way."""
    with server({"first": GOES}) as at:
        whole, hurt = tmp_path / "whole", tmp_path / "hurt"
        for folder in (whole, hurt):
            folder.mkdir()
            fallback_job(folder, at, limits={"concurrency": 1, "attempts": 1, "in_flight": 1})
        assert start(whole).wait()[0] == 0
        unhurt, before = by_model(at), len(at.received)
        for moment in KILLS:
            code, out = start(hurt, moment).wait()
            assert code == -9, out
        code, out = start(hurt).wait()
        assert code == 0, out
        asked: dict[str, Counter[int]] = {}
        for one in at.received[before:]:
            asked.setdefault(one.body["model"], Counter())[row_of(one.body)] += 1
        twice = sum((asked[model] - unhurt[model]).total() for model in unhurt)
        assert twice == attempts(hurt / "run").get(("unknown", "interrupted_unknown"), 0) <= len(KILLS)
        assert outputs(hurt / "run") == outputs(whole / "run")
        sent = len(at.received)
        assert start(hurt).wait()[0] == 0
        assert len(at.received) == sent
    handed = {}
    for folder in (whole, hurt):
        with Ledger.reading(folder / "run/ledger.sqlite") as ledger:
            handed[folder.name] = list(ledger.calls.handovers.counts())
    assert handed["hurt"] == handed["whole"]
    assert sum(count for *_, count in handed["whole"]) == len(GOES)


def test_shards_are_merged_with_what_went_to_the_fallback(tmp_path, rt):
    """The merged run says of every sample what the shards said, and asks nothing."""
    with server({"first": GOES}) as at:
        config = fallback_job(tmp_path, at)
        for shard in ("1/2", "2/2"):
            assert rt("run", config, "--run-dir", tmp_path / shard[0], "--shard", shard).code == 0
        sent = len(at.received)
        merged = rt("merge", config, tmp_path / "run", tmp_path / "1", tmp_path / "2")
        assert merged.code == 0, merged.err
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
        assert len(at.received) == sent
    assert "teacher second refused" in merged.words
    assert sum("handovers" in line for line in side(tmp_path / "run")) == len(GOES)


def test_nothing_is_sent_to_parse_again(tmp_path, rt):
    """`rt reparse` takes the fallback's answers from the ledger."""
    with server({"first": GOES}) as at:
        config = fallback_job(tmp_path, at)
        rt("run", config, "--run-dir", tmp_path / "run")
        before, sent = outputs(tmp_path / "run"), len(at.received)
        assert rt("reparse", config, "--run-dir", tmp_path / "run").code == 0
        assert len(at.received) == sent
    assert outputs(tmp_path / "run") == before


def test_retry_asks_the_teachers_again_that_failed_with_the_kind(tmp_path):
    """`rt retry --kind refused`: of rewrites that failed in the end, not of those that a fallback has written."""
    wrong = lambda one: "refused" if int(one.pair_hash[:2], 16) % 2 else None  # noqa: E731
    three(a=always("refused"), b=wrong, c=always("too_long"))
    config = chain_job(tmp_path, 16)
    summary = go(config, tmp_path / "run")
    failed = summary.failures["too_long"]
    assert 0 < failed < 16
    again = three(b=always("refused"))
    summary = go(config, tmp_path / "run", mode=RunMode(retry=("refused",)))
    assert [len(teacher.requests) for teacher in again.values()] == [failed, 0, 0], "a is asked first, and now answers"
    assert summary.failures == {}


def test_retry_of_the_last_kind_leaves_earlier_refusals(tmp_path):
    """`rt retry --kind format`: the answers of c are withdrawn, and a and b are not asked."""
    teachers = three(a=always("refused"), b=always("refused"))
    teachers["c"] = fakes_plugin.HELD["c"] = Named("c", lambda _: FORMLESS)
    config = chain_job(tmp_path)
    go(config, tmp_path / "run")
    again = three()
    summary = go(config, tmp_path / "run", mode=RunMode(retry=("format",)))
    assert [len(teacher.requests) for teacher in again.values()] == [0, 0, 4]
    assert summary.outcomes["rewritten"] == 4


# --- money --------------------------------------------------------------------------------------------


def billed(at: FaultServer) -> float:
    """The server's charge in nano-dollars, by its own count of four bytes a token, at the list price of each model."""
    total = 0.0
    for one in at.received:
        if one.billed:
            asked = sum(tokens(message["content"]) for message in one.body["messages"])
            answer = tokens(FORMLESS if GOES.get(row_of(one.body), ("",))[0] == "formless" else told(one.body))
            total += 1000 * asked + {"first": 2000, "second": 8000}[one.body["model"]] * answer
    return total


def test_the_quote_is_a_bound_with_fallbacks(tmp_path, rt):
    """Its high covers what both models billed, each by itself; a second quote costs nothing."""
    with server({"first": {row: GOES[row % len(GOES)] for row in range(COUNT)}}) as at:
        config = fallback_job(tmp_path, at, limits={"attempts": 1, "budget_usd": 5})
        first = quote(Host(modules=["tests.fakes_plugin"], only=[]), read_config(config), tmp_path / "run")
        shown = rt("run", config, "--run-dir", tmp_path / "run", "--dry-run")
        assert "high that every question is asked of each of them in vain" in shown.words
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
        assert first.cost is not None
        assert 0 < billed(at) <= first.cost.high
        sent = Counter(one.body["model"] for one in at.received)
    parts = {part.name: part for part in first.teachers}
    assert parts["second"].sends.low == 0
    assert (parts["teacher"].sends.high, parts["second"].sends.high) == (2 * COUNT, 2 * COUNT)
    assert sent["first"] <= 2 * COUNT and sent["second"] == COUNT
    after = quote(Host(modules=["tests.fakes_plugin"], only=[]), read_config(config), tmp_path / "run")
    assert (after.cost.high, after.sends.high, after.unique - after.answered) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(100 if os.environ.get("RT_RELIABILITY") == "large" else 12))
def test_a_run_pays_each_teacher_no_more_than_its_high(seed, tmp_path):
    """A directory may hold runs with and without fallbacks, and any teacher may refuse anything."""
    luck = random.Random(seed)
    asks = luck.choices(["instruction", "response", "rounds"], k=2)
    data = [*rows(2), *rows(luck.randint(0, 1))]

    def refuses(name: str) -> Any:
        def kind(request: Request) -> str | None:
            drawn = int(digest([seed, name, request.pair_hash, request.index, request.step])[:4], 16) % 8
            return {0: "refused", 1: "too_long", 2: "empty"}.get(drawn)

        return kind

    def teachers() -> dict[str, Named]:
        made = {
            name: Named(name, moody(seed + number), refuses(name), structured=luck.random() < 0.7)
            for number, name in enumerate(("teacher", "b", "c"))
        }
        fakes_plugin.HELD.update(made)
        return made

    def config() -> Config:
        keys = {
            "teacher": {"part": "held:teacher", "fallback": luck.choice([None, "b", "b", "b"])},
            "teachers": {"b": {"part": "held:b", "fallback": luck.choice([None, "c"])}, "c": "held:c"},
        }
        stages = {"stages": pipeline(luck, asks), "exhaustive": luck.random() < 0.3}
        limits = {"answers": luck.randint(1, 2), "attempts": 1}
        return job(tmp_path, data, stages, **keys, limits=limits)

    forms = teachers()
    for _ in range(luck.randint(0, 2)):
        go(config(), tmp_path / "run", forms["teacher"])
    last = config()
    asked = {name: len(one.requests) for name, one in forms.items()}
    fakes_plugin.HELD.update(forms, student=FakeStudent())
    before = quote(Host(modules=["tests.fakes_plugin"], only=[], strict=True), last, tmp_path / "run")
    paid = {name: one.paid for name, one in forms.items()}
    go(last, tmp_path / "run", forms["teacher"])
    parts = {part.name: part for part in before.teachers} or {"teacher": before}
    for name, one in forms.items():
        if name in parts:
            assert len(one.requests) - asked[name] <= parts[name].sends.high
            assert one.paid - paid[name] <= parts[name].cost.high
        else:
            assert len(one.requests) == asked[name]
    assert before.cost.low <= before.cost.high


def test_a_quote_after_refusals_counts_the_fallback_alone(tmp_path):
    """Refused in an earlier run without a fallback: the first teacher is asked nothing, and low is the second's."""
    three(a=always("refused"))
    go(chain_job(tmp_path, teachers={"a": "held:a"}), tmp_path / "run")
    found = quote(Host(modules=["tests.fakes_plugin"], only=[]), chain_job(tmp_path), tmp_path / "run")
    assert {part.name: (part.sends.low, part.sends.high) for part in found.teachers} == {
        "a": (0, 0),
        "b": (4, 8),
        "c": (0, 8),
    }


def test_a_budget_needs_the_price_of_the_fallback(tmp_path):
    """Before anything is sent, in the run as in the quote."""
    three()
    fakes_plugin.HELD["b"] = ScriptedTeacher(rewriting)
    config = chain_job(tmp_path, limits={"budget_usd": 1.0})
    host = Host(modules=["tests.fakes_plugin"], only=[])
    for job_of in (lambda: go(config, tmp_path / "run"), lambda: quote(host, config, tmp_path / "run")):
        with pytest.raises(ConfigError, match=r"limits\.budget_usd is set but the price of teacher 'scripted'"):
            job_of()
    assert fakes_plugin.HELD["a"].requests == []


def test_the_budget_of_a_fallback_binds(tmp_path):
    """Its share is used up: the run stops and names the setting."""
    three(a=always("refused"))
    shares = {"a": {"part": "held:a", "fallback": "b"}, "b": {"part": "held:b", "budget_usd": 1e-5}}
    with pytest.raises(BudgetReached, match=r"larger teachers\.b\.budget_usd"):
        go(chain_job(tmp_path, 8, teachers=shares), tmp_path / "run")
    assert fakes_plugin.HELD["b"].paid <= 1e-5 * 1e9


def test_the_own_budget_of_a_single_teacher_binds(tmp_path):
    """Also where no other teacher shares the run's budget with it."""
    teachers = three()
    pipeline = [{"reflect": {"reflection": "response", "teacher": "a"}}]
    shares = {"a": {"part": "held:a", "budget_usd": 1e-5}}
    with pytest.raises(BudgetReached, match=r"larger teachers\.a\.budget_usd"):
        go(job(tmp_path, rows(8), pipeline, teacher=None, teachers=shares), tmp_path / "run")
    assert teachers["a"].paid <= 1e-5 * 1e9


# --- what says so ---------------------------------------------------------------------------------------


def test_every_account_of_a_run_says_what_went_to_the_fallback(tmp_path, rt):
    """Status, explain, the report and the data card, each with the teachers and the kind."""
    with server({"first": {0: GOES[0], 1: GOES[5]}}) as at:
        done = rt("run", fallback_job(tmp_path, at), "--run-dir", tmp_path / "run")
        assert done.code == 0, done.out + done.err
    status = rt("status", tmp_path / "run").words
    assert f"teacher second refused {KINDS['refused'].meaning} 1" in status
    assert f"teacher second format {KINDS['format'].meaning} 1" in status
    story = rt("explain", tmp_path / "run", 0, "--prompts").words
    assert "by the fallback second, since teacher failed: refused: Rejected by our safety system" in story
    assert "the question went to the fallback second" in story
    assert "of litellm:openai/first: response" in story
    assert "of litellm:openai/second: response" in story
    other = rt("explain", tmp_path / "run", 5).words
    assert "fallback" not in other
    assert rt("report", tmp_path / "run", "--out", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "Questions that went to the fallback of a teacher" in page
    assert '<th scope="row">teacher → second</th><td>refused</td><td>1</td>' in page
    assert '<th scope="row">fallbacks</th><td>teacher → second</td>' in page
    hub = rt("export", tmp_path / "run", "--hub-folder", "--out", tmp_path / "hub", "--license", "mit")
    assert hub.code == 0, hub.err
    card = (tmp_path / "hub" / "README.md").read_text("utf-8")
    assert "| teacher | second | format | 1 |" in card
    assert "| fallbacks | teacher → second |" in card


def test_the_screen_counts_what_goes_on(tmp_path):
    """The account of the teacher that failed says how many questions, and why."""
    from rt_framework.terminal.live import progress_text

    three(a=always("refused"))
    text = progress_text(go(chain_job(tmp_path), tmp_path / "run").progress)
    assert "4 from the ledger" not in text
    assert re.search(
        r"\ba \d+ of \d+ under way; 4 sent, 0 retries, 0 from the ledger; 4 to its fallback \(4 refused\)", text
    )


# --- the config -----------------------------------------------------------------------------------------


A, B, C = (f"scripted:{name}" for name in "abc")


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"teacher": {"part": A, "fallback": "stron"}, "teachers": {"strong": B}},
            "teacher.fallback: unknown teacher 'stron'. Did you mean 'strong'? Known: teacher, strong.",
        ),
        (
            {"teachers": {"a": {"part": A, "fallback": "teacher"}}},
            "teachers.a.fallback: unknown teacher 'teacher'. Known: a.",
        ),
        (
            {"teacher": {"part": A, "fallback": "teacher"}},
            "teacher.fallback: fallbacks must come to an end, and these do not: teacher → teacher",
        ),
        (
            {
                "teacher": A,
                "teachers": {
                    "x": {"part": A, "fallback": "b"},
                    "b": {"part": B, "fallback": "c"},
                    "c": {"part": C, "fallback": "b"},
                },
            },
            "teachers.x.fallback: fallbacks must come to an end, and these do not: x → b → c → b",
        ),
        ({"teacher": {"part": A, "fallbak": "b"}}, "teacher.fallbak: unknown key 'fallbak'. Did you mean 'fallback'?"),
    ],
)
def test_a_wrong_fallback_is_refused_in_one_line(keys, line, tmp_path, rt):
    """By every command that reads the config, with the names that there are."""
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps({"data": {"path": "x.json"}, "pipeline": REFLECT, "student": "fake", **keys}), "utf-8")
    assert f"{path}: {line}" in the_error(rt("run", path, "--dry-run"))
    assert line in " ".join(rt("doctor", path).words.replace("│", " ").split())


def test_a_fallback_is_asked_as_long_as_a_teacher_of_it_is(tmp_path):
    """Nobody's fallback is not built; the main teacher may be one, under the name of its key."""
    teachers = three(a=always("refused"))
    keys = {
        "teacher": "held:c",
        "teachers": {"a": {"part": "held:a", "fallback": "teacher"}, "b": {"part": "held:nowhere", "fallback": "a"}},
    }
    go(chain_job(tmp_path, **keys), tmp_path / "run")
    assert [len(teacher.requests) for teacher in teachers.values()] == [4, 0, 4]
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        assert {name: fact for name, fact in run.facts.items() if name.startswith("teacher")} == {
            "teacher": "named:c",
            "teacher a": "named:a",
        }
        assert [one.fallback for one in run.summary.handovers] == ["teacher"]


def test_a_program_may_give_both_as_objects(tmp_path):
    """A part with a fallback may be an object, as a part alone may."""
    first, second = Named("first", refuses=always("refused")), Named("second")
    config = {
        "teacher": {"part": first, "fallback": "second"},
        "teachers": {"second": {"part": second}},
        "student": FakeStudent(),
        "pipeline": REFLECT,
    }
    finished = run(config, rows(3), tmp_path / "run", progress=False, host=Host(only=[]))
    assert (len(first.requests), len(second.requests)) == (3, 3)
    history = finished.sample(0)
    (handover,) = history.handovers["response"]
    assert (handover.teacher, handover.fallback, handover.kind) == ("teacher", "second", "refused")
    assert finished.manifest["config"]["teacher"]["fallback"] == "second"


def test_the_main_teacher_is_written_as_it_always_was():
    """A part alone stays a part in the manifest, whichever way it was given; with options it has all keys."""
    raw = {"data": {"path": "x"}, "pipeline": "cherry"}
    short = structure({**raw, "teacher": {"held": "teacher"}}, Config)
    assert short == structure({**raw, "teacher": {"part": {"held": "teacher"}}}, Config)
    assert short == Config(short.data, short.pipeline, teacher=Spec("held", "teacher"))
    assert plain_config(short)["teacher"] == {"held": "teacher"}
    long = structure({**raw, "teacher": {"part": A, "fallback": "b"}, "teachers": {"b": B}}, Config)
    assert plain_config(long)["teacher"]["fallback"] == "b"
    assert structure(plain_config(long), Config) == long
