"""Progress of a run: counters are read from the parts of the run that own them, and sent to the reporters."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from attrs import evolve

from rt_framework.errors import described
from rt_framework.events import (
    Money,
    Progress,
    SampleCounts,
    StageProgress,
    Stalled,
    StudentCounts,
    TeacherAccount,
    TeacherCounts,
)
from rt_framework.kit.estimates import Moments
from rt_framework.model import Decision, Sample
from rt_framework.plugin import Reporters
from rt_framework.rundir.pace import Load, MeteredStage, Pace
from rt_framework.text import shown, without_secrets

_log = logging.getLogger("rt_framework")

_INTERVAL = 0.2
"""Seconds between two readings of the counters; reporters get an event if a counter has changed."""

_HEARTBEAT = 1.0
"""Seconds after which reporters get an event even if no counter has changed."""

_PATIENCE = 60.0
"""Seconds without an answer, a loss or a finished sample until a stall is reported; doubled after each report."""

_ENOUGH = 20
"""Passes through stages that ask the teacher, since the first paid call, for a believable cost projection."""


class TeacherSource(Protocol):
    """The part of a run that sends questions to the teacher, as far as its progress is read."""

    def counts(self) -> TeacherCounts:
        """Return the counts of calls."""

    def money(self) -> Money:
        """Return the amounts, without a projection."""

    def accounts(self) -> tuple[TeacherAccount, ...]:
        """Return the account of each teacher, if there are several."""

    def reused_at(self, stage: str) -> int:
        """Return the number of answers that a stage got from the ledger."""

    def why(self) -> str:
        """Return the reason for the current wait, in words."""


class StudentSource(Protocol):
    """The part of a run that computes losses, as far as its progress is read."""

    def counts(self) -> StudentCounts:
        """Return the counts of forward passes and losses."""

    def outstanding(self) -> int:
        """Return the characters of the texts whose losses are asked for and not known yet."""

    def loading(self) -> bool:
        """Return whether the student is being loaded."""

    def why(self) -> str:
        """Return the reason for the current wait, in words."""


class SampleCounter:
    """Counts of outcomes: of finished samples, of samples at each stage, and of choices between versions."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self.lacking: Counter[str] = Counter()
        """Samples of ``rt score`` without a score, by the status of the first one that is missing."""
        self._at_stages: Counter[tuple[str, str]] = Counter()
        self._gains: defaultdict[str, Moments] = defaultdict(Moments)

    @property
    def gains(self) -> dict[str, float]:
        """Mean gain of the chosen version over the current one, by metric."""
        return {metric: gain.mean for metric, gain in self._gains.items()}

    def ended(self, outcome: str) -> None:
        """Count a finished sample."""
        self.outcomes[outcome] += 1

    def at(self, stage: str, what: str) -> None:
        """Count an outcome of a sample at a stage; *what* is a field of :class:`rt_framework.events.StageProgress`."""
        self._at_stages[stage, what] += 1

    def chose(self, decision: Decision, sample: Sample, metrics: Sequence[str]) -> None:
        """Count a choice, and the chosen version's gain over the current one in the metrics that were read for it."""
        current = decision.candidates[0]
        self.decisions["current" if decision.kept == current else "rewrite"] += 1
        for metric in metrics:
            gain = _value(sample, decision.kept, metric) - _value(sample, current, metric)
            if math.isfinite(gain):
                self._gains[metric].add(gain)

    def stage(self, stage: str) -> StageProgress:
        """Return the counts of the stage with this id, without the answers that it got from the ledger."""
        outcomes = ("passed", "dropped", "failed", "unusable")
        passed, dropped, failed, unusable = (self._at_stages[stage, outcome] for outcome in outcomes)
        return StageProgress(stage, passed, dropped, failed, unusable)


class Meter:
    """A meter of a run's progress, which reads the counters of the parts that it is given.

    Args:
        reporters: receivers of the events.
        total: number of samples.
        stages: the stages of the pipeline, in order.
    """

    def __init__(self, reporters: Reporters, total: int | None = None, stages: Sequence[MeteredStage] = ()) -> None:
        self.reporters = reporters
        self.total = total
        self.samples = SampleCounter()
        self.teacher: TeacherSource | None = None
        self.student: StudentSource | None = None
        self.pace = Pace(stages, total or 0)
        self._projection = _Projection(stages, total or 0)
        self._clock = _Clock()

    def begin(self) -> None:
        """Note that the work begins now, and that nothing was waited for before."""
        self._clock.moved()
        self.pace.begin()

    def progress(self) -> Progress:
        """Return the current values of the counters."""
        teacher = TeacherCounts() if self.teacher is None else self.teacher.counts()
        money = Money() if self.teacher is None else self.teacher.money()
        student = StudentCounts() if self.student is None else self.student.counts()
        stages = tuple(map(self._stage, self._projection.stages))
        finished = self.samples.outcomes.total()
        if self.student is None:
            load = Load(under_way=teacher.under_way, finished=finished)
        else:
            outstanding, loading = self.student.outstanding(), self.student.loading()
            load = Load(outstanding, student.passes, loading, teacher.under_way, finished)
        self.pace.read(load)
        self._clock.moved((finished, stages, teacher.answered, teacher.reused, student))
        return Progress(
            samples=SampleCounts(
                finished,
                self.total,
                dict(self.samples.outcomes),
                self._projection.share(stages, finished),
                dict(self.samples.decisions),
                self.samples.gains,
            ),
            teacher=teacher,
            money=evolve(money, projected=self._projection.cost(stages, teacher.calls, money.spent)),
            student=student,
            stages=stages,
            teachers=() if self.teacher is None else self.teacher.accounts(),
            seconds=self._clock.seconds,
            still=self._clock.still,
            waiting="; ".join(filter(None, (part.why() for part in (self.student, self.teacher) if part is not None))),
            left=self.pace.seconds_left(),
        )

    def _stage(self, stage: MeteredStage) -> StageProgress:
        reused = 0 if self.teacher is None else self.teacher.reused_at(stage.id)
        return evolve(self.samples.stage(stage.id), reused=reused, name=stage.name)


class _Clock:
    """Seconds since the start of a job, and since anything has moved in it."""

    def __init__(self) -> None:
        self._started = self._moved = time.monotonic()
        self._counts: object = None

    def moved(self, counts: object = None) -> None:
        """Note counters that move only when work is done; other values than before are a move."""
        if counts is None or counts != self._counts:
            self._counts, self._moved = counts, time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def still(self) -> float:
        """Seconds since the last move."""
        return time.monotonic() - self._moved


class _Projection:
    """Projection of the work and the cost of a whole job from the passes of samples through its stages."""

    def __init__(self, stages: Sequence[MeteredStage], total: int) -> None:
        self.stages = tuple(stages)
        self._total = total
        self._before_paying: tuple[int, float] | None = None

    def share(self, stages: Sequence[StageProgress], finished: int) -> float:
        """Return the work done, 0 … 1; a job without stages counts finished samples."""
        if not self.stages:
            return min(finished / self._total, 1.0) if self._total else 0.0
        return self._passed(stages, [stage.id for stage in self.stages])

    def cost(self, stages: Sequence[StageProgress], calls: int, spent: int) -> int | None:
        """Return the cost of the whole job: what is spent, plus the rest at the mean cost since the first paid call."""
        if not calls:
            return None
        asking = [stage.id for stage in self.stages if stage.asks]
        share = self._passed(stages, asking)
        # Both figures are read at one moment, so that answers taken from the ledger before it do not count as cheap.
        self._before_paying = self._before_paying or (spent, share)
        before, share_before = self._before_paying
        if (share - share_before) * self._total * len(asking) < _ENOUGH:
            return None
        return spent + round((spent - before) / (share - share_before) * (1 - share))

    def _passed(self, stages: Sequence[StageProgress], ids: Sequence[str]) -> float:
        """Return the work done in passes through some stages. A sample that ended counts as through the rest."""
        if not self._total:
            return 0.0
        passes = ended = 0
        for stage in stages:
            ended += stage.dropped + stage.failed
            if stage.stage in ids:
                passes += stage.passed + ended
        return min(passes / (self._total * max(len(ids), 1)), 1.0)


def _value(sample: Sample, version: str, metric: str) -> float:
    """Return a score that may win a choice, else NaN: a score that may not win is no measure of a gain."""
    score = sample.scores.get(version, {}).get(metric)
    return math.nan if score is None or score.value is None or not score.eligible else score.value


@asynccontextmanager
async def telling(meter: Meter) -> AsyncIterator[None]:
    """Inside the block, send reporters the progress, and an event when the run stalls."""
    task = asyncio.create_task(_tell(meter))
    task.add_done_callback(_ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _ended(task: asyncio.Task[None]) -> None:
    """Log a warning if the progress has ended too early; the run itself goes on."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        fault = " ".join(without_secrets(described(error)).split())
        _log.warning(shown(f"the progress of the run is not shown any more: {fault}"))


async def _tell(meter: Meter) -> None:
    last, sent, patience = None, -math.inf, _PATIENCE
    while True:
        progress = meter.progress()
        counts = evolve(progress, seconds=0.0, still=0.0)
        now = time.monotonic()
        if counts != last or now - sent >= _HEARTBEAT:
            last, sent = counts, now
            meter.reporters.send("rt_progress", progress)
        if progress.still < _PATIENCE:
            patience = _PATIENCE
        elif progress.still >= patience:
            meter.reporters.send("rt_stalled", Stalled(progress.still, progress.waiting))
            patience = 2 * progress.still
        await asyncio.sleep(_INTERVAL)
