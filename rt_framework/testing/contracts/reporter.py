"""The contract of reporters."""

from __future__ import annotations

import time
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest import SkipTest

from rt_framework import events
from rt_framework.errors import PluginError
from rt_framework.plugin import Host, Reporters
from rt_framework.testing.contracts.base import PluginContract

_PROGRESS = events.Progress(
    samples=events.SampleCounts(3, 4, {"rewritten": 2, "original": 1}),
    teacher=events.TeacherCounts(calls=9, retries=1, answered=8, tokens=120),
    money=events.Money(paid=5_000_000),
    student=events.StudentCounts(400, 3, 2),
    seconds=1.5,
)
_SUMMARY = events.Summary(
    total=4,
    outcomes={"rewritten": 2, "original": 1, "dropped": 1, "failed": 0},
    versions={"original": 1, "response": 2},
    drops={"gate ifd: not < 1": 1},
    failures={"refused": 1},
    errors=1,
    shifts=(events.Shift("ifd", 0.4, 0.6, 3),),
    progress=_PROGRESS,
    files=("runs/rt/kept.json",),
)
EVENTS: dict[str, object] = {
    "rt_preparing": events.Preparing("counting the samples"),
    "rt_run_started": events.RunStarted("runs/rt", ("teacher: fake", "data: \x1b[31mred [/End]"), 4, "1a2b", {}, {}),
    "rt_stage_started": events.StageStarted("reflect-response", "1. reflect response"),
    "rt_progress": _PROGRESS,
    "rt_sample_failed": events.SampleFailed("0123-0", 2, "reflect-response", "refused", "\u202eno [/End]", False),
    "rt_sample_finished": events.SampleFinished("0123-0", 2, "original"),
    "rt_stalled": events.Stalled(60.0, "teacher: 3 calls under way"),
    "rt_batch_changed": events.BatchChanged("batch_1", 9, "submitted"),
    "rt_stage_finished": events.StageFinished("reflect-response", "1. reflect response"),
    "rt_run_stopping": events.RunStopping("the budget is reached", 2),
    "rt_run_failed": events.RunFailed("BudgetReached", "the budget is reached"),
    "rt_run_finished": events.RunFinished(_SUMMARY),
}
"""One event for each hook, in the order of an eventful run."""

_QUICKLY = 1.0
"""Most seconds that a reporter may take for an event, since the run waits meanwhile."""


class ReporterContract(PluginContract):
    """Contract of a reporter, which watches a run. A reporter that raises is left out of the run."""

    kind = "reporters"

    def reporters(self) -> tuple[Any, Reporters]:
        """Return a new reporter, and the object that passes events to it."""
        reporter = self.make()
        try:
            return reporter, Host(only=()).reporters([reporter])
        except PluginError as error:
            raise SkipTest(str(error)) from None

    def test_its_hooks_are_known(self) -> None:
        """The reporter has at least one hook, and each hook is known, marked, and takes the event alone."""
        reporter = self.make()
        try:
            Host(only=()).reporters([reporter])
        except PluginError as error:
            raise AssertionError(f"{error}; mark event hooks with @hookimpl, with the argument 'event'") from error

    def test_every_event_is_taken(self, tmp_path: Path) -> None:
        """No event makes the reporter raise, with or without hostile text in it."""
        reporter, reporters = self.reporters()
        try:
            with chdir(tmp_path):  # a reporter may write to the current folder
                for hook, event in EVENTS.items():
                    reporters.send(hook, event)
            assert not reporters.failed, f"{reporters.failed[0] if reporters.failed else ''}; a reporter must not raise"
        finally:
            self._close(reporter)

    def test_it_returns_quickly(self, tmp_path: Path) -> None:
        """Each hook returns quickly, because the run waits for it; slow work belongs on a thread."""
        reporter, reporters = self.reporters()
        try:
            for hook, event in EVENTS.items():
                began = time.monotonic()
                with chdir(tmp_path):
                    reporters.send(hook, event)
                took = time.monotonic() - began
                assert took < _QUICKLY, f"{hook} took {took:.1f} s, and the run waits; do slow work on a thread"
        finally:
            self._close(reporter)

    def test_it_can_be_closed(self) -> None:
        """``close``, if the reporter has one, raises nothing, before and after a run."""
        reporter = self.make()
        if not hasattr(reporter, "close"):
            raise SkipTest("it has nothing to close")
        try:
            reporter.close()
        except Exception as error:
            raise AssertionError(f"close raised {type(error).__name__}: {error}") from error

    def _close(self, reporter: Any) -> None:
        try:
            getattr(reporter, "close", lambda: None)()
        except Exception as error:
            raise SkipTest(f"close raised {error}") from None
