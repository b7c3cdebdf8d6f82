"""The engine that takes every sample through the stages.

Many samples are under way at once. A stage over the whole data set is a barrier, at which each sample waits for all
others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

from attrs import evolve
from cattrs import unstructure

from rt_framework.errors import PluginError, RtError
from rt_framework.events import SampleFailed, SampleFinished, StageFinished, StageStarted
from rt_framework.ledger import WAITING, Ledger, SampleHistory
from rt_framework.model import ORIGINAL, Dropped, Failure, Sample, Score, Version, digest
from rt_framework.pipeline.steps import Step
from rt_framework.plugin import Tally
from rt_framework.protocols import Question, Reflection
from rt_framework.scoring import Scoring
from rt_framework.teacher import TeacherClient
from rt_framework.text import without_secrets

T = TypeVar("T")

_WAVE = 1024
"""Number of samples of a data-set stage that are scored or recorded together."""


class Context:
    """The :class:`rt_framework.protocols.StageContext` of one stage of one run."""

    def __init__(self, run: Run, stage: str) -> None:
        self._run = run
        self._stage = stage
        self._scored: dict[Version, dict[str, Score]] = {}

    def noting(self, sample: Sample) -> Sample:
        """Return the sample with the scores of its versions that this stage has received."""
        return sample.scoring(self._scored)

    @property
    def exhaustive(self) -> bool:
        """True if every version is reflected on and scored by all metrics."""
        return self._run.exhaustive

    async def reflect(self, name: str, reflection: Reflection, version: Version) -> Version | Failure:
        """Ask the teacher for a rewrite of *version*."""
        return await self._run.require_teaching().reflect(name, reflection, version, self._stage)

    async def ask(self, question: Question[T], version: Version) -> T | Failure:
        """Ask the teacher a question about *version*."""
        return await self._run.require_teaching().ask(question, version, self._stage)

    async def score(self, versions: Sequence[Version], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return the scores of each version, by metric, and remember them for :meth:`noting`."""
        if not metrics:
            return [{} for _ in versions]
        scores = await self._run.require_scoring().score([version.pair for version in versions], metrics)
        for version, found in zip(versions, scores, strict=True):
            self._scored.setdefault(version, {}).update(found)
        return scores


class DatasetContext(Context):
    """The context of a data-set stage, which may ask for any number of scores.

    It computes them in waves and remembers them by the hash of the version, so that no text is kept in memory.
    """

    def __init__(self, run: Run, stage: str) -> None:
        super().__init__(run, stage)
        self._known: dict[str, dict[str, Score]] = {}

    def noting(self, sample: Sample) -> Sample:
        """Return the sample with the scores of its versions that this stage has received."""
        keys = {version: _key(version) for version in sample.versions} if self._known else {}
        return sample.scoring({version: self._known[key] for version, key in keys.items() if key in self._known})

    async def score(self, versions: Sequence[Version], metrics: Sequence[str]) -> list[dict[str, Score]]:
        """Return the scores of each version, by metric; computed in waves, to bound the memory that they need."""
        scores = []
        for at in range(0, len(versions), _WAVE):
            scores += await super().score(list(versions[at : at + _WAVE]), metrics)
            for version, found in self._scored.items():
                self._known.setdefault(_key(version), {}).update(found)
            self._scored.clear()
        return scores


class Run:
    """A run of a pipeline over one data set.

    Args:
        steps: the stages of the pipeline, in order.
        teaching: the chain that asks the teacher, if a stage asks it.
        scoring: the chain that scores with the student, if a stage reads scores.
        ledger: where finished samples are recorded.
        tally: counts what happens and sends events to reporters.
        in_flight: number of samples under way at once.
        exhaustive: True to reflect on every version and score it by every metric.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        teaching: TeacherClient | None,
        scoring: Scoring | None,
        ledger: Ledger,
        tally: Tally,
        in_flight: int,
        exhaustive: bool,
    ) -> None:
        self.exhaustive = exhaustive
        self._steps = tuple(steps)
        self._teaching = teaching
        self._scoring = scoring
        self._ledger = ledger
        self._tally = tally
        self._in_flight = in_flight
        self._started: set[str] = set()
        self._needs = tuple(dict.fromkeys(metric for step in steps for metric in step.stage.needs))

    def require_teaching(self) -> TeacherClient:
        """Return the chain that asks the teacher.

        Raises:
            RtError: no teacher is configured.
        """
        if self._teaching is None:
            raise RtError("the pipeline reflects but no teacher is configured; add 'teacher:' to the config")
        return self._teaching

    def require_scoring(self) -> Scoring:
        """Return the chain that scores with the student.

        Raises:
            RtError: no student is configured.
        """
        if self._scoring is None:
            raise RtError("the pipeline reads scores but no student is configured; add 'student:' to the config")
        return self._scoring

    async def go(self, samples: Iterator[Sample]) -> None:
        """Take every sample to the end of its path and record its outcome.

        Raises:
            RtError: the run cannot go on; what was committed to the ledger stays there.
        """
        coming: Iterable[Sample] = samples
        for steps, barrier in _segments(self._steps):
            await self._segment(coming, steps, self._keep if barrier is None else partial(self._wait, barrier))
            if barrier is not None:
                await self._barrier(barrier)
                coming = self._ledger.samples.waiting()

    # --- per sample -------------------------------------------------------------------------

    async def _segment(
        self, samples: Iterable[Sample], steps: Sequence[Step], passed: Callable[[Sample], Awaitable[None]]
    ) -> None:
        """Take every sample through *steps*, a bounded number at once; raise the first error that stops the run."""
        # The workers share one iterator, so samples are read only as workers become free.
        source = iter(samples)

        async def worker() -> None:
            for sample in source:
                outcome = await self._through(sample, steps)
                if outcome is not None:
                    await passed(outcome)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._in_flight):
                    group.create_task(worker())
        except ExceptionGroup as errors:
            raise _first(errors) from errors
        for step in steps:
            self._finish(step.name)

    async def _through(self, sample: Sample, steps: Sequence[Step]) -> Sample | None:
        """Take one sample through *steps*; return ``None`` if it was dropped or failed on the way."""
        for step in steps:
            self._begin(step.name)
            try:
                outcome = await self._step(sample, step)
            except RtError:
                raise
            except Exception as error:
                self._tally.at(step.name, "failed")
                await self._fail(sample, step.name, error)
                return None
            if isinstance(outcome, Dropped):
                self._tally.at(step.name, "dropped")
                await self._end(outcome.sample, "dropped", outcome.reason)
                return None
            self._count(step, sample, outcome)
            sample = outcome
        return sample

    def _count(self, step: Step, before: Sample, after: Sample) -> None:
        """Count and report what a stage did to a sample that goes on."""
        self._tally.at(step.name, "passed")
        for decision in after.decisions[len(before.decisions) :]:
            if len(decision.candidates) > 1:
                self._tally.chose(decision, after, step.stage.needs)
        for failure in after.failures[len(before.failures) :]:
            self._tally.at(step.name, "unusable")
            self._report(after, failure, fatal=False)
        self._tally.changed()

    async def _step(self, sample: Sample, step: Step) -> Sample | Dropped:
        ctx = Context(self, step.name)
        outcome = await step.stage.run(sample, ctx)  # type: ignore[union-attr]
        _check(sample, outcome)
        if self.exhaustive and isinstance(outcome, Sample):
            # As in the published script, which scores every version by every metric, needed or not.
            await ctx.score(outcome.versions, self._needs)
        return _noted(step, sample, outcome, ctx)

    async def _fail(self, sample: Sample, stage: str, error: Exception) -> None:
        failure = Failure(stage, "plugin_bug", without_secrets(f"{type(error).__name__}: {error}"))
        self._report(sample, failure, fatal=True)
        await self._end(sample.failing(failure), "failed", failure.reason)

    # --- the whole data set -----------------------------------------------------------------

    async def _wait(self, step: Step, sample: Sample) -> None:
        """Score a sample that has reached a barrier, and store it in the ledger until all others have reached it."""
        self._begin(step.name)
        ctx = Context(self, step.name)
        with _blamed(step):
            await ctx.score((sample.current,), step.stage.needs)
        await self._ledger.samples.record(SampleHistory(ctx.noting(sample), WAITING, None))

    async def _barrier(self, step: Step) -> None:
        """Let a data-set stage decide on all waiting samples; those that it keeps go on waiting.

        Raises:
            PluginError: the stage failed; no sample can go on without its decision.
        """
        with _blamed(step):
            await self._fit(step)
        ctx = DatasetContext(self, step.name)
        samples = self._ledger.samples.waiting()
        with _blamed(step):
            outcomes = await step.stage.run_all(samples, ctx)  # type: ignore[union-attr]
            decided = _checked(samples, outcomes)
        while True:
            with _blamed(step):
                wave = list(islice(decided, _WAVE))
            if not wave:
                break
            await asyncio.gather(
                *(self._decided(step, before, _noted(step, before, after, ctx)) for before, after in wave)
            )
            self._tally.changed()
        self._finish(step.name)

    async def _fit(self, step: Step) -> None:
        """Fit the metrics that are fitted to the whole data set, and score all waiting samples by them."""
        samples = self._ledger.samples.waiting()
        if self._scoring is None or not step.stage.needs:
            return
        fitted = await self._scoring.fit(step.stage.needs, lambda: (sample.current.pair for sample in samples))
        every = iter(samples if fitted else ())
        while wave := list(islice(every, _WAVE)):
            ctx = Context(self, step.name)
            await ctx.score([sample.current for sample in wave], fitted)
            for sample in wave:
                await self._ledger.samples.record(SampleHistory(ctx.noting(sample), WAITING, None))

    async def _decided(self, step: Step, before: Sample, after: Sample | Dropped) -> None:
        """Record the decision of a data-set stage on a sample."""
        self._tally.at(step.name, "dropped" if isinstance(after, Dropped) else "passed")
        if isinstance(after, Dropped):
            await self._end(after.sample, "dropped", after.reason)
        elif after is not before:
            await self._ledger.samples.record(SampleHistory(after, WAITING, None))

    # --- the end of a sample ----------------------------------------------------------------

    async def _keep(self, sample: Sample) -> None:
        await self._end(sample, "original" if sample.kept == ORIGINAL else "rewritten", None)

    async def _end(self, sample: Sample, outcome: str, reason: str | None) -> None:
        await self._ledger.samples.record(SampleHistory(sample, outcome, reason))
        self._tally.finished += 1
        self._tally.outcomes[outcome] += 1
        self._tally.reporters.send("rt_sample_finished", SampleFinished(sample.id, sample.row, outcome))
        self._tally.changed()

    def _begin(self, stage: str) -> None:
        if stage not in self._started:
            self._started.add(stage)
            self._tally.reporters.send("rt_stage_started", StageStarted(stage))

    def _finish(self, stage: str) -> None:
        """Report that the last sample has left a stage; nothing is reported for a stage that no sample reached."""
        if stage in self._started:
            self._tally.reporters.send("rt_stage_finished", StageFinished(stage))

    def _report(self, sample: Sample, failure: Failure, fatal: bool) -> None:
        event = SampleFailed(sample.id, sample.row, failure.stage, failure.kind, failure.reason, fatal)
        self._tally.reporters.send("rt_sample_failed", event)


def _segments(steps: Sequence[Step]) -> list[tuple[tuple[Step, ...], Step | None]]:
    """Split the steps into segments of per-sample steps, each with the barrier that ends it; the last has none."""
    segments: list[tuple[tuple[Step, ...], Step | None]] = []
    current: tuple[Step, ...] = ()
    for step in steps:
        if step.barrier:
            segments.append((current, step))
            current = ()
        else:
            current = (*current, step)
    return [*segments, (current, None)]


@contextmanager
def _blamed(step: Step) -> Iterator[None]:
    """Turn an exception of a stage into an error that names the stage and stops the run.

    Raises:
        PluginError: the stage raised any exception other than an ``RtError``, which passes unchanged.
    """
    try:
        yield
    except RtError:
        raise
    except Exception as error:
        raise PluginError(f"stage '{step.name}' failed: {type(error).__name__}: {error}") from error


def _checked(
    samples: Iterable[Sample], outcomes: Iterable[Sample | Dropped]
) -> Iterator[tuple[Sample, Sample | Dropped]]:
    """Yield each sample with its checked outcome."""
    for sample, outcome in zip(samples, outcomes, strict=True):
        _check(sample, outcome)
        yield sample, outcome


def _check(sample: Sample, outcome: Sample | Dropped) -> None:
    """Check that a stage returned the sample that it was given, and that the kept version exists.

    Raises:
        ValueError: the stage returned another sample, or keeps a version that does not exist.
    """
    found = outcome.sample if isinstance(outcome, Dropped) else outcome
    if found.id != sample.id:
        raise ValueError(f"the stage was given sample {sample.id} and gave back {found.id}")
    if all(version.name != found.kept for version in found.versions):
        raise ValueError(f"version '{found.kept}' was kept, but there is none of that name")


def _noted(step: Step, before: Sample, outcome: Sample | Dropped, ctx: Context) -> Sample | Dropped:
    """Return the outcome of a stage, with the scores that it received and its label on its own decisions."""
    after = ctx.noting(outcome.sample if isinstance(outcome, Dropped) else outcome)
    known = len(before.decisions)
    if len(after.decisions) > known:
        own = (evolve(decision, stage=step.label) for decision in after.decisions[known:])
        after = evolve(after, decisions=(*after.decisions[:known], *own))
    return evolve(outcome, sample=after) if isinstance(outcome, Dropped) else after


def _key(version: Version) -> str:
    return digest(unstructure(version))


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """Return the error to show: an ``RtError``, which the user can act on, before any other."""
    flat: list[Exception] = []
    stack: list[Exception] = [errors]
    while stack:
        error = stack.pop()
        if isinstance(error, ExceptionGroup):
            stack += error.exceptions
        else:
            flat.append(error)
    return next((error for error in flat if isinstance(error, RtError)), flat[0])
