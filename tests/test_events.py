"""Events of a run beyond its counts: the identity of the run, its config, its cost, and the reason of its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from functools import partial

import pytest

from rt_framework import TeacherError, hookimpl
from rt_framework.config import Data, ScoringConfig
from rt_framework.data import open_source
from rt_framework.errors import FatalTeacherError, LockedError, RtError
from rt_framework.jobs.scoring import Scorers, score_file
from rt_framework.kit.parts import Spec
from rt_framework.plugin import Host
from rt_framework.rundir import open_run
from rt_framework.testing import ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests.run_helpers import GATES, SELECTIVE, Priced, go, job, pair_of, rows, write_json


def _refuse(_):
    raise TeacherError("auth", "no such key")


def _crash(_):
    raise ZeroDivisionError("a teacher with a fault")


def _interrupt(request):
    """A first Ctrl-C; a second one would leave at once."""
    if request.pair_hash == pair_of(rows(1)[0]).hash:
        os.kill(os.getpid(), signal.SIGINT)
    return rewriting(request)


class Observer:
    """Keeps what it is told of the beginning and the end."""

    def __init__(self) -> None:
        self.seen = {}

    @hookimpl
    def rt_run_started(self, event):
        self.seen["started"] = event

    @hookimpl
    def rt_run_failed(self, event):
        self.seen["failed"] = event

    @hookimpl
    def rt_run_finished(self, event):
        self.seen["finished"] = event


def test_a_run_says_who_it_is_and_what_was_asked_for(tmp_path):
    """The name of a directory stays, though it is moved and gates change; config and facts are the manifest's."""
    first, again, other = Observer(), Observer(), Observer()
    go(job(tmp_path, rows(2), SELECTIVE), tmp_path / "run", watchers=[first])
    (tmp_path / "run").rename(tmp_path / "moved")
    go(job(tmp_path, rows(2), SELECTIVE[:2]), tmp_path / "moved", watchers=[again])
    go(job(tmp_path, rows(2), SELECTIVE[:2]), tmp_path / "other", watchers=[other])
    started = again.seen["started"]
    assert started.run_id == first.seen["started"].run_id != other.seen["started"].run_id
    manifest = json.loads((tmp_path / "moved" / "manifest.json").read_text())
    assert json.loads(json.dumps(started.config)) == manifest["config"]
    assert started.facts == manifest["frozen"]
    assert "failed" not in again.seen


def test_what_all_runs_of_a_directory_cost_is_told(tmp_path):
    """The second run asks half as much anew, and names the sum."""
    teacher, first, again = Priced(), Observer(), Observer()
    go(job(tmp_path, rows(2), SELECTIVE[:2]), tmp_path / "run", teacher, watchers=[first])
    before = teacher.paid
    assert first.seen["finished"].summary.progress.money.spent == before > 0
    go(job(tmp_path, rows(2), SELECTIVE), tmp_path / "run", teacher, watchers=[again])
    progress = again.seen["finished"].summary.progress
    assert (progress.money.spent, progress.money.paid) == (teacher.paid, teacher.paid - before)
    assert progress.money.paid > 0


def test_a_run_that_ends_with_an_error_says_so(tmp_path, monkeypatch):
    """By the kind of error and in words, in which the key is missing; also when it did not even start."""
    monkeypatch.setenv("ACME_API_KEY", "canary-key-of-acme")

    def refuse(request):
        raise TeacherError("auth", "401 for canary-key-of-acme")

    observer = Observer()
    with pytest.raises(FatalTeacherError):
        go(job(tmp_path, rows(2), SELECTIVE), tmp_path / "run", ScriptedTeacher(refuse), watchers=[observer])
    failed = observer.seen["failed"]
    assert failed.kind == "FatalTeacherError"
    assert "401 for ***" in failed.reason and "canary" not in failed.reason
    assert "finished" not in observer.seen
    observer = Observer()
    with open_run(tmp_path / "run"), pytest.raises(LockedError):
        go(job(tmp_path, rows(2), SELECTIVE), tmp_path / "run", watchers=[observer])
    assert observer.seen.keys() == {"failed"}


class Stages:
    """Keeps the events of stages, in order."""

    def __init__(self) -> None:
        self.seen = []
        self.names = []

    @hookimpl
    def rt_stage_started(self, event):
        self.seen.append(("started", event.stage))
        self.names.append(event.name)

    @hookimpl
    def rt_stage_finished(self, event):
        self.seen.append(("finished", event.stage))

    @hookimpl
    def rt_sample_finished(self, event):
        self.seen.append(("sample", event.row))


TOP = {"select": {"top": {"metric": "ifd", "count": 2}}}
NONE = {"gate": {"ifd": {"below": -1}}}
"""A gate that no sample passes."""

JOURNEYS = {
    "all pass": (SELECTIVE, rewriting, 4),
    "a gate drops all": ([NONE, *SELECTIVE], rewriting, 1),
    "a barrier first": ([TOP, *SELECTIVE, *GATES], rewriting, 6),
    "two barriers": ([TOP, {"select": {"random": {"count": 1}}}, {"measure": ["ifd"]}], rewriting, 3),
    "nothing reaches the barrier": ([{"measure": ["ifd"]}, NONE, TOP, {"measure": ["ifd"]}], rewriting, 2),
    "no answer is usable": (SELECTIVE, lambda _: "of no use", 4),
    "the teacher refuses for good": (SELECTIVE, _refuse, None),
    "the teacher is at fault": ([{"reflect": "instruction"}, *GATES], _crash, 2),
    "interrupted": (SELECTIVE, _interrupt, None),
}
"""Pipeline, answers of the teacher, and the number of stages that a sample reaches; none where the run stops."""


@pytest.mark.parametrize("journey", JOURNEYS)
def test_a_stage_ends_once_and_only_if_it_began(journey, tmp_path):
    """Of a stage that no sample reached nothing is told; stages begin and end in the order of the pipeline."""
    pipeline, answer, reached = JOURNEYS[journey]
    stages = Stages()
    try:
        go(job(tmp_path, rows(3), pipeline), tmp_path / "run", ScriptedTeacher(answer), watchers=[stages])
        stopped = False
    except RtError:
        stopped = True
    began = [stage for what, stage in stages.seen if what == "started"]
    ended = [stage for what, stage in stages.seen if what == "finished"]
    assert [name.partition(".")[0] for name in stages.names] == [str(number + 1) for number in range(len(began))]
    assert ended == ([] if stopped else began)
    assert stopped is (reached is None) and (stopped or len(began) == reached)
    assert all(stages.seen.index(("started", one)) < stages.seen.index(("finished", one)) for one in ended)


def test_the_end_of_a_stage_is_told_when_its_last_sample_has_left_it(tmp_path):
    """Not when the whole run is through: the last sample is still on its way, and a dropped one is past all stages."""
    stages = Stages()
    gates = [{"gate": {"length": {"below": 10**6}}}, NONE, {"measure": ["ifd"]}]
    go(job(tmp_path, rows(3), gates, limits={"in_flight": 1}), tmp_path / "run", watchers=[stages])
    ends = [event for event in stages.seen if event[0] != "started"]
    assert ends == [("sample", 0), ("sample", 1), ("finished", "gate"), ("sample", 2), ("finished", "gate-2")]


def test_scoring_a_file_sends_the_events_of_a_job(tmp_path):
    """Beginning and end, marked as those of scoring; a failure is told as well."""
    observer = Observer()
    write_json(tmp_path / "data.json", rows(3))
    host = Host(modules=["tests.fakes_plugin"], only=[])
    source = open_source(host, Data(str(tmp_path / "data.json")))
    config = ScoringConfig(preset="superfiltering", template=Spec("alpaca"))
    work = partial(score_file, host, source, Scorers(("ifd",), Spec("fake"), config))
    summary = asyncio.run(work(tmp_path / "out.jsonl", [observer]))
    started, finished = observer.seen["started"], observer.seen["finished"]
    assert (started.job, finished.job, started.total) == ("score", "score", 3)
    assert finished.summary == summary
    assert summary.outcomes == {"ok": 3} and summary.files == (str(tmp_path / "out.jsonl"),)
    observer = Observer()
    with open_run(tmp_path / "out.jsonl.rt"), pytest.raises(LockedError):
        asyncio.run(work(tmp_path / "out.jsonl", [observer]))
    assert observer.seen.keys() == {"failed"} and observer.seen["failed"].job == "score"
