"""What an observer of a run is told beyond counts: who the run is, what was asked for, what it cost, why it ended."""

from __future__ import annotations

import json

import pytest

from rt_framework import TeacherError, hookimpl
from rt_framework.errors import FatalTeacherError, LockedError
from rt_framework.rundir import open_run
from rt_framework.testing import ScriptedTeacher
from tests.run_helpers import SELECTIVE, Priced, go, job, rows


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
    assert first.seen["finished"].summary.progress.spent == before > 0
    go(job(tmp_path, rows(2), SELECTIVE), tmp_path / "run", teacher, watchers=[again])
    progress = again.seen["finished"].summary.progress
    assert (progress.spent, progress.nano_dollars) == (teacher.paid, teacher.paid - before)
    assert progress.nano_dollars > 0


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
