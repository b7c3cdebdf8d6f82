"""The time left that a run shows: right within a third after the first fifth of the work, or not shown.

The runs are real ones, with a teacher and a student that take time on a clock that runs ahead while all wait.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable

import pytest
from attrs import define, field

from rt_framework import hookimpl
from rt_framework.config import Data, Limits, ScoringConfig
from rt_framework.data import open_source
from rt_framework.errors import FatalTeacherError, TeacherError
from rt_framework.jobs.rewriting import answering
from rt_framework.jobs.running import run
from rt_framework.jobs.scoring import Scorers, score_file
from rt_framework.kit.parts import Spec
from rt_framework.plugin.host import Host
from rt_framework.rundir import progress
from rt_framework.testing import FakeStudent, ScriptedTeacher
from tests import fakes_plugin
from tests.run_helpers import GATES, SELECTIVE, job, write_json
from tests.virtual_time import VirtualTime

FULL = [*SELECTIVE, {"measure": ["ifd", "r-ifd"]}, *GATES]


def rows(count, order=None):
    """Rows whose responses have lengths like those of a real data set: few are long."""
    chance = random.Random(1)
    made = [
        {
            "instruction": f"Name {number} {text(chance, chance.randint(3, 15))}",
            "input": "",
            "output": f"A {number} {text(chance, 5 + int(chance.lognormvariate(3.2, 0.8)))}",
        }
        for number in range(count)
    ]
    return made if order is None else sorted(made, key=lambda row: order * len(row["output"]))


def text(chance, length):
    """A text of so many words."""
    words = ["cork", "leaf", "boat", "river", "sail", "wind", "stone", "water", "float"]
    return " ".join(chance.choice(words) for _ in range(length))


def answer(request):
    """A rewrite as long as the texts of the data."""
    chance = random.Random(f"{request.pair_hash} {request.reflection}")
    lengths = {"critique": 10, "instruction": 12, "response": 35}
    wanted = (request.schema or {}).get("properties", lengths)
    return json.dumps({name: text(chance, lengths.get(name, 10)) for name in wanted})


class Student(FakeStudent):
    """A student that takes *seconds* for each token, and more for its first forward pass."""

    batch_tokens, packs, path, batch_size = 600, False, "simulated", 16

    def __init__(self, clock, seconds, first=0.0, answer=0.0):
        super().__init__()
        self._clock, self._seconds, self._first, self._answer = clock, seconds, first, answer

    def score(self, batch):
        """As the fake student, later."""
        took = self._first + self._seconds * sum(len(span.ids) for span in batch)
        self._first = 0.0
        if took:
            self._clock.sleep(took)
        return super().score(batch)

    def generate(self, requests):
        """As the fake student, later."""
        self._clock.sleep(self._answer)
        return super().generate(requests)


class Teacher(ScriptedTeacher):
    """A teacher that takes about so many seconds for an answer, by reflection; after *burst* calls it says 429.

    After *most* answers the account has no credit left.
    """

    def __init__(self, burst=0, every=20.0, most=None, **seconds):
        super().__init__(answer)
        self._seconds, self._burst, self._every, self._most = seconds, burst, every, most
        self._chance, self._window, self._taken = random.Random(0), float("-inf"), 0

    async def complete(self, request):
        """An answer, or a refusal that says when to come again."""
        now = asyncio.get_running_loop().time()
        if now - self._window >= self._every:
            self._window, self._taken = now, 0
        self._taken += 1
        if self._burst and self._taken > self._burst:
            await asyncio.sleep(0.05)
            raise TeacherError("rate_limited", "slow down", retry_after=self._window + self._every - now)
        if self._most is not None and len(self.requests) >= self._most:
            raise TeacherError("quota", "no credit")
        await asyncio.sleep(self._seconds.get(request.reflection, 0.0) * self._chance.uniform(0.5, 1.5))
        return await super().complete(request)


@define(eq=False)
class Watcher:
    """Keeps the time left that is told, and when."""

    clock: VirtualTime
    told: list[tuple[float, float | None]] = field(factory=list)

    @hookimpl
    def rt_progress(self, event):
        self.told.append((self.clock.now, event.left))

    def check(self, least, most=0.1):
        """After the first fifth each time is right within a third, or 10 seconds; and enough of them are told.

        At most the share *most* may be wrong: for a moment, after a pause or at the end of a stage.
        """
        began, end = self.told[0][0], self.told[-1][0]
        later = [(end - at, left) for at, left in self.told[:-1] if at >= began + (end - began) / 5]
        told = [(truth, left) for truth, left in later if left is not None]
        wrong = [both for both in told if abs(both[1] - both[0]) > max(both[0] / 3, 10)]
        assert end - began > 60, "a run that is too short shows nothing"
        assert len(told) >= least * len(later)
        assert len(wrong) <= most * len(told), wrong


@pytest.fixture
def clock(monkeypatch):
    """Time that runs ahead, with fewer readings of the counters than there are on a real clock."""
    monkeypatch.setattr(progress, "_INTERVAL", 0.5)
    return VirtualTime(monkeypatch)


def host(teacher, student):
    """A host of these objects."""
    fakes_plugin.HELD.update(teacher=teacher, student=student)
    return Host(modules=["tests.fakes_plugin"], only=[], strict=True)


def go(clock, tmp_path, data, pipeline, teacher, student):
    """Run the job, and return what was told."""
    watcher = Watcher(clock)
    clock.run(run(host(teacher, student), job(tmp_path, data, pipeline), tmp_path / "run", [watcher]))
    return watcher


CASES: dict[str, tuple[Callable[..., Watcher], float]] = {
    "the student alone": (
        lambda *at: go(*at, rows(250), [{"measure": ["ifd"]}], Teacher(), Student(at[0], 0.008)),
        0.9,
    ),
    "recorded answers": (lambda *at: go(*at, rows(250), FULL, Teacher(), Student(at[0], 0.002)), 0.9),
    "a warm-up": (lambda *at: go(*at, rows(250), FULL, Teacher(), Student(at[0], 0.002, first=40)), 0.5),
    "a slow teacher": (
        lambda *at: go(*at, rows(300), SELECTIVE, Teacher(instruction=9, response=9), Student(at[0], 0.0001)),
        0.9,
    ),
    "a second stage that is slower": (
        lambda *at: go(*at, rows(400), SELECTIVE, Teacher(instruction=1, response=9), Student(at[0], 0.0002)),
        0.5,
    ),
    "bursts": (
        lambda *at: go(*at, rows(300), SELECTIVE, Teacher(burst=30, instruction=1, response=1), Student(at[0], 0.0005)),
        0.5,
    ),
    "samples that leave early": (
        lambda *at: go(
            *at,
            rows(600),
            [{"gate": {"ifd": {"below": 1}}}, *SELECTIVE],
            Teacher(instruction=6, response=6),
            Student(at[0], 0.0005),
        ),
        0.5,
    ),
    "short samples first": (
        lambda *at: go(*at, rows(400, 1), SELECTIVE, Teacher(instruction=1, response=1), Student(at[0], 0.002)),
        0.5,
    ),
    "long samples first": (
        lambda *at: go(*at, rows(250, -1), SELECTIVE, Teacher(instruction=1, response=1), Student(at[0], 0.002)),
        0.5,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_time_left_is_right_or_not_shown(case, tmp_path, clock):
    """The same holds for each thing that may take the time."""
    work, least = CASES[case]
    # Sorted data is the hard case: what the first samples cost says little about the last ones.
    work(clock, tmp_path).check(least, 0.2 if case == "short samples first" else 0.1)


def test_a_resumed_run_is_judged_by_its_own_work(tmp_path, clock):
    """Most answers are in the ledger, and come in a moment; the others take their time."""
    data = rows(400)
    with pytest.raises(FatalTeacherError, match="no credit"):
        go(clock, tmp_path, data, SELECTIVE, Teacher(most=320), Student(clock, 0.0))
    slow = Teacher(instruction=8, response=8)
    go(clock, tmp_path, data, SELECTIVE, slow, Student(clock, 0.0005)).check(0.5)
    assert len(slow.requests) < 500


def test_scoring_and_answering_tell_it_too(tmp_path, clock):
    """``rt score`` has no stages; in ``rt answer`` the student answers batches of questions."""
    data = Data(path=str(write_json(tmp_path / "data.json", rows(500))))
    watcher, held = Watcher(clock), Spec("held", "student")
    scoring = host(None, Student(clock, 0.002))
    out = tmp_path / "scores.jsonl"
    clock.run(score_file(scoring, open_source(scoring, data, None), Scorers(("ifd", "r-ifd"), held), out, [watcher]))
    watcher.check(0.9)
    watcher = Watcher(clock)
    config = answering(data, {}, held, ScoringConfig(), Limits(answers=1, samples=200))
    clock.run(run(host(None, Student(clock, 0.0, answer=8)), config, tmp_path / "run", [watcher]))
    watcher.check(0.9)


def test_a_short_run_shows_none(tmp_path, clock):
    """Nothing can be told from a moment."""
    watcher = go(clock, tmp_path, rows(5), SELECTIVE, Teacher(), Student(clock, 0.0))
    assert all(left is None or left < 1 for _, left in watcher.told)
