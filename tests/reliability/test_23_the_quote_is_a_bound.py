"""The quote's high is a bound: whatever was run before, whatever is chosen, whatever the teacher answers."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from attrs import evolve

from rt_framework import Choice, Decision
from rt_framework.jobs.quoting import Bounds, Quote, quote
from rt_framework.ledger.ledger import Ledger
from rt_framework.ledger.statements import Statement
from rt_framework.model import Request, Sampling, digest
from rt_framework.pipeline.foresight import Foresight, Known
from rt_framework.plugin.host import Host
from rt_framework.testing.fakes import FakeStudent, rewriting
from tests import fakes_plugin
from tests.run_helpers import SELECTIVE, Priced, go, job, rows

SELECTORS: tuple[Any, ...] = (
    "newest",
    {"highest": "ifd"},
    {"lowest": "ifd"},
    {"lowest": "r-ifd"},
    {"highest": "length"},
)


def dry(config: Any, run_dir: Path) -> Quote:
    """The quote of a job."""
    fakes_plugin.HELD["teacher"], fakes_plugin.HELD["student"] = Priced(), FakeStudent()
    return quote(Host(modules=["tests.fakes_plugin"], only=[], strict=True), config, run_dir)


def moody(seed: int):
    """A teacher that mostly answers well, else of no use or in no form at all, as a hash of the request decides."""

    def answer(request: Request) -> str:
        asked = [seed, request.reflection, request.pair_hash, request.index, request.draw, request.step]
        luck = int(digest(asked)[:4], 16) % 8
        return rewriting(request) if luck > 1 else ("I would rather not." if luck else "x" * 4000)

    return answer


def pipeline(luck: random.Random, asks: list[str]) -> list[Any]:
    """Stages that ask, with what chooses and drops between them."""
    stages: list[Any] = []
    for number, name in enumerate(asks):
        stages.append({"reflect": {"reflection": {name: {"temperature": 0.5}}, "as": f"{name}-{number}"}})
        if luck.random() < 0.3:
            stages[-1]["reflect"]["draws"] = luck.randint(2, 3)
        if luck.random() < 0.95:
            stages.append({"choose": luck.choice(SELECTORS)})
        if luck.random() < 0.15:
            stages.append({"gate": {"ifd": {"below": luck.choice([0.5, 1, 5])}}})
    if luck.random() < 0.1:
        stages.insert(luck.randint(1, len(stages)), {"select": {"top": {"metric": "ifd", "fraction": 0.5}}})
    return stages


@pytest.mark.parametrize("seed", range(200 if os.environ.get("RT_RELIABILITY") == "large" else 16))
def test_a_run_pays_and_sends_no_more_than_high(seed, tmp_path):
    """After runs of other selectors and pipelines in the same directory, also ones that were cut short."""
    luck = random.Random(seed)
    data = [*rows(2), *rows(luck.randint(0, 1))]
    answer, asks = moody(seed), luck.choices(["instruction", "response", "rounds"], k=luck.randint(2, 3))

    wild = seed % 2  # else only selectors change, so that most answers are there and little else can hide a fault

    def config(**limits: Any) -> Any:
        stages = {
            "stages": pipeline(luck, asks[wild and luck.random() < 0.3 :]),
            "exhaustive": bool(wild) and luck.random() < 0.3,
        }
        return job(tmp_path, data, stages, limits={"answers": luck.randint(1, 2) if wild else 1, **limits})

    for samples in luck.sample([None, 1, 2], k=2) if wild else [None]:
        go(config(samples=samples), tmp_path / "run", Priced(answer))
    last = config()
    before = dry(last, tmp_path / "run")
    teacher = Priced(answer)
    go(last, tmp_path / "run", teacher)
    assert len(teacher.requests) <= before.sends.high
    assert teacher.paid <= before.cost.high
    assert before.cost.low <= before.cost.high and before.sends.low <= before.sends.high


@pytest.mark.parametrize("selector", [{"highest": "length"}, "newest"])
def test_a_change_of_selector_is_quoted(selector, tmp_path):
    """A sample whose rewrite was kept may now keep its original, about which nobody has asked yet."""
    first = job(tmp_path, rows(4), SELECTIVE)
    go(first, tmp_path / "run", Priced())
    assert dry(first, tmp_path / "run").cost == Bounds(0, 0)
    changed = job(tmp_path, rows(4), [SELECTIVE[0], {"choose": selector}, *SELECTIVE[2:]])
    before, teacher = dry(changed, tmp_path / "run"), Priced()
    go(changed, tmp_path / "run", teacher)
    assert teacher.paid <= before.cost.high
    assert len(teacher.requests) <= before.sends.high


def test_a_choice_by_recorded_scores_is_quoted_exactly(tmp_path):
    """The new selector reads scores that are recorded already, so the quote of sends is one number and no range."""
    go(job(tmp_path, rows(4), SELECTIVE, limits={"answers": 1}), tmp_path / "run", Priced())
    stages = [SELECTIVE[0], {"choose": {"lowest": "ifd"}}, *SELECTIVE[2:]]
    changed = job(tmp_path, rows(4), stages, limits={"answers": 1})
    before, teacher = dry(changed, tmp_path / "run"), Priced()
    go(changed, tmp_path / "run", teacher)
    assert teacher.requests
    assert before.sends == Bounds(len(teacher.requests), len(teacher.requests))


class Fickle:
    """A selector of a third party that decides by the sample's place and not by its texts."""

    needs = ()

    def choose(self, candidates):
        """The newest for even rows, the held one for odd ones."""
        return Choice(candidates[-1 if candidates[0].row % 2 else 0].version.name, "by row")


def test_equal_rows_that_choose_differently_are_quoted(tmp_path, monkeypatch):
    """Two equal rows may ask about two versions: to ask once is true of equal questions, not of equal rows."""
    monkeypatch.setattr("rt_framework.builtin.selectors.versions.Newest", Fickle)
    same = [*rows(3), *rows(3), *rows(3)]
    config = job(tmp_path, same, [{"reflect": "instruction"}, {"choose": "newest"}, {"reflect": "response"}])
    before, teacher = dry(config, tmp_path / "run"), Priced()
    go(config, tmp_path / "run", teacher)
    assert len(teacher.requests) == 3 + 6
    assert teacher.paid <= before.cost.high
    assert before.sends.high == 2 * (3 + 6)


class Returning:
    """A stage of a third party that goes back to the original."""

    needs = ()
    reflections = MappingProxyType({})

    def __init__(self, settings, make):
        pass

    async def run(self, sample, ctx):
        """Keep the original again."""
        return sample.deciding(Decision("return", (sample.kept, "original"), "original", "back"))


def test_a_stage_that_goes_back_to_an_older_version_is_quoted(tmp_path, monkeypatch):
    """Each version made so far may be the held one."""
    monkeypatch.setattr(fakes_plugin, "Odd", Returning)
    stages = [{"reflect": "instruction"}, {"choose": "newest"}, {"odd": "x"}, {"reflect": "response"}]
    go(job(tmp_path, rows(4), [*stages[:2], stages[3]]), tmp_path / "run", Priced())
    config = job(tmp_path, rows(4), stages)
    before, teacher = dry(config, tmp_path / "run"), Priced()
    go(config, tmp_path / "run", teacher)
    assert len(teacher.requests) == 4
    assert teacher.paid <= before.cost.high


def test_a_third_retry_that_asks_at_greater_length_is_in_high(tmp_path, monkeypatch):
    """Later requests are changed ones, and what they may cost is theirs, not the first one's."""
    from rt_framework.builtin.reflections.instruction import InstructionReflection

    whole = InstructionReflection.render

    def longer(self, pair, index, structured):
        request = whole(self, pair, index, structured)
        return evolve(request, sampling=evolve(request.sampling, max_tokens=1024 * (1 + index)))

    monkeypatch.setattr(InstructionReflection, "render", longer)
    config = job(tmp_path, rows(2), [{"reflect": "instruction"}], limits={"answers": 3})
    before = dry(config, tmp_path / "run")
    teacher = Priced(lambda request: "no " * 20_000)
    go(config, tmp_path / "run", teacher)
    assert before.answer_tokens.high == 2 * 1024 * (1 + 2 + 3)
    assert teacher.paid <= before.cost.high


def test_calls_that_are_held_back_cost_nothing(tmp_path):
    """With on_ambiguous: hold a run does not send them, and a quote does not count them."""
    config = job(tmp_path, rows(2), [{"reflect": "instruction"}], limits={"on_ambiguous": "hold"})
    go(config, tmp_path / "run", Priced())
    with Ledger.writing(tmp_path / "run" / "ledger.sqlite") as ledger:
        asyncio.run(
            ledger.database.write(
                [
                    Statement("UPDATE attempts SET state = 'unknown', kind = 'interrupted_unknown'"),
                    Statement("UPDATE calls SET answer = NULL"),
                ]
            )
        )
    (tmp_path / "run" / "manifest.json").unlink()  # as after a kill
    assert dry(config, tmp_path / "run").sends == Bounds(0, 0)
    teacher = Priced()
    go(config, tmp_path / "run", teacher)
    assert teacher.requests == []
    asked_again = evolve(config, limits=evolve(config.limits, on_ambiguous="retry"))
    assert dry(asked_again, tmp_path / "run").sends == Bounds(2, 4)


def test_no_stage_is_run_by_a_quote_of_an_empty_directory(tmp_path, monkeypatch):
    """Only a sample that a run has taken to its end is taken on its way again; and none inside another event loop."""
    monkeypatch.setattr(Foresight, "_go", lambda *_: pytest.fail("a stage was run"))
    config = job(tmp_path, rows(2), SELECTIVE)
    assert dry(config, tmp_path / "run").sends.low == 4
    question = Request("instruction", "pair", 0, (), Sampling())
    assert Known(None, {"": Priced()}, frozenset()).reply("x", question, "") is None


def test_a_quote_inside_an_event_loop_is_still_a_bound(tmp_path):
    """As in a notebook: what cannot be followed there is taken for uncertain."""
    config = job(tmp_path, rows(3), SELECTIVE)
    go(config, tmp_path / "run", Priced())

    async def inside() -> Quote:
        return dry(config, tmp_path / "run")

    assert dry(config, tmp_path / "run").sends == Bounds(0, 0)
    found = asyncio.run(inside())
    assert found.sends.low == 0
    assert found.sends.high > 0
