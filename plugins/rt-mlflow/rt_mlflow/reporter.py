"""The reporter: keeps what it is told, and hands it to a thread that writes it."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial

from rt_framework import hookimpl
from rt_framework.events import (
    BatchChanged,
    Progress,
    RunFailed,
    RunFinished,
    RunStarted,
    SampleFailed,
    StageFinished,
    StageStarted,
    Stalled,
)
from rt_mlflow import facts
from rt_mlflow.settings import MlflowSettings
from rt_mlflow.store import Store
from rt_mlflow.writer import Writer

PATIENCE = 30.0
"""Seconds that the end of a run waits for MLflow."""

HURRY = 0.5
"""Seconds that a user waits who leaves at once."""


class MlflowReporter:
    """Logs one run. The hooks only count and queue; what MLflow raises comes out of the next one, once."""

    def __init__(self, settings: MlflowSettings) -> None:
        self._settings = settings
        self._writer: Writer[Store] | None = None
        self._progress: Progress | None = None
        self._written = 0.0
        self._failures: Counter[str] = Counter()
        self._questions: Counter[str] = Counter()
        self._stages: dict[str, float] = {}
        self._stalls = 0
        self._ended = False

    @hookimpl
    def rt_run_started(self, event: RunStarted) -> None:
        """Begin an MLflow run, or go on with one."""
        self._writer = Writer(partial(Store, self._settings, event, _now()))
        self._written = time.monotonic()

    @hookimpl
    def rt_progress(self, event: Progress) -> None:
        """Write a point now and then."""
        self._progress = event
        if time.monotonic() - self._written >= self._settings.every:
            self._written = time.monotonic()
            self._point()

    @hookimpl
    def rt_sample_failed(self, event: SampleFailed) -> None:
        """Count by kind; the reason may hold text of samples and providers, and is not logged."""
        self._failures[event.kind] += 1

    @hookimpl
    def rt_stage_started(self, event: StageStarted) -> None:
        """Take the time."""
        self._stages[event.stage] = time.monotonic()

    @hookimpl
    def rt_stage_finished(self, event: StageFinished) -> None:
        """Log how long it was from the first sample in to the last one out."""
        began = self._stages.get(event.stage)
        if began is not None:
            self._metrics({f"stages/{facts.named(event.stage)}": time.monotonic() - began})

    @hookimpl
    def rt_batch_changed(self, event: BatchChanged) -> None:
        """Log how many questions went where."""
        self._questions[event.state] += event.questions
        self._metrics({f"batches/{facts.named(event.state)}": self._questions[event.state]})

    @hookimpl
    def rt_stalled(self, event: Stalled) -> None:
        """Count, and say in a tag what was waited for."""
        self._stalls += 1
        self._metrics({"run/stalls": self._stalls})
        self._tag("rt.stalled", f"{event.seconds:.0f} s: {event.why}")

    @hookimpl
    def rt_run_failed(self, event: RunFailed) -> None:
        """Say why it ended."""
        self._point()
        self._end("KILLED" if event.kind == "Interrupted" else "FAILED", f"{event.kind}: {event.reason}")

    @hookimpl
    def rt_run_finished(self, event: RunFinished) -> None:
        """Log the account."""
        if self._writer is not None:
            self._writer.put(partial(Store.account, summary=event.summary, now=_now()))
        self._end("FINISHED", "finished")

    def close(self) -> None:
        """Let the thread write what is left. A run that did not say that it ended is being left at once.

        Raises:
            Exception: MLflow failed, and no hook was called since.
        """
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close(PATIENCE if self._ended else HURRY)

    def _point(self) -> None:
        if self._progress is not None:
            self._metrics({**facts.progress(self._progress), **facts.failures(self._failures)})

    def _metrics(self, values: facts.Metrics) -> None:
        if self._writer is not None:
            self._writer.put(partial(Store.metrics, values=values, now=_now()))

    def _tag(self, name: str, text: str) -> None:
        if self._writer is not None:
            self._writer.put(partial(Store.tag, values={name: text}))

    def _end(self, status: str, told: str) -> None:
        self._ended = True
        self._tag("rt.end", told)
        if self._writer is not None:
            self._writer.put(partial(Store.end, status=status, now=_now()))


def _now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
