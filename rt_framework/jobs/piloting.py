"""A pilot: a run of a few rows, from which cost, time and results of all rows are extrapolated."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from attrs import evolve, frozen

from rt_framework.config import Config
from rt_framework.errors import ConfigError
from rt_framework.events import Progress, RunStarted, SampleFinished, Summary
from rt_framework.hookspecs import hookimpl
from rt_framework.jobs.running import RunMode, claimed_job, run
from rt_framework.kit.estimates import Estimate, Moments, share
from rt_framework.ledger import KEPT, Ledger, SampleHistory
from rt_framework.pipeline import goes_in_batches, teachers_of
from rt_framework.plugin import Host
from rt_framework.rundir import look
from rt_framework.teacher import is_priced


@frozen
class Forecast:
    """A pilot's extrapolation to all rows; each estimate has a 95 % interval."""

    rows: int
    """Number of rows that were run."""
    population: int
    """Number of all rows."""
    rewritten: Estimate
    """Share of the samples that keep a rewrite, 0 … 1."""
    kept: Estimate
    """Share of the samples that are kept, in any version, 0 … 1."""
    cost: Estimate | None
    """Nano-dollars of the whole job, the pilot included; ``None`` if only one row was run, or nothing has a price."""
    budget: int | None
    """Nano-dollars that ``limits.budget_usd`` needs: the upper end of the cost, and room to reserve one more call."""
    seconds: Estimate | None = None
    """Time of the whole job at the pace of the pilot's rows; ``None`` if that pace says nothing about the whole job."""
    first: float = 0.0
    """Seconds until the pilot's first row was finished; not contained in *seconds*."""


class Stopwatch:
    """A reporter that measures the times between finished samples."""

    def __init__(self) -> None:
        self.gaps = Moments()
        self.first: float | None = None
        """Seconds from the start to the first finished sample."""
        self._began = self._last = time.monotonic()

    @hookimpl
    def rt_run_started(self, event: RunStarted) -> None:  # noqa: ARG002 - the hook's signature
        """Start the clock."""
        self._began = time.monotonic()

    @hookimpl
    def rt_sample_finished(self, event: SampleFinished) -> None:  # noqa: ARG002 - the hook's signature
        """Measure the time since the previous finished sample."""
        now = time.monotonic()
        if self.first is None:
            self.first = now - self._began
        else:
            self.gaps.add(now - self._last)
        self._last = now

    def seconds(self, population: int, in_flight: int) -> Estimate | None:
        """Return the time of *population* rows at the measured pace; ``None`` if there are too few gaps.

        If no more rows were run than are under way at once, all were begun before the first was finished, and the
        gaps miss the work until then. So the upper end is then at least the pace with the start counted in.
        """
        gap = self.gaps.interval()
        if gap is None:
            return None
        found, rows = gap.times(population), self.gaps.count + 1
        with_start = (self._last - self._began) / rows * population
        return evolve(found, high=max(found.high, with_start)) if rows <= in_flight else found


async def pilot(
    host: Host,
    config: Config,
    run_dir: Path,
    rows: int,
    seed: int = 0,
    watchers: Iterable[object] = (),
    moved: bool = False,
) -> tuple[Summary, Forecast]:
    """Run *rows* randomly drawn rows in the run directory of the whole job, and extrapolate to all rows.

    Args:
        host: finds the plugins.
        config: the whole job.
        run_dir: run directory of the whole job, which reuses the answers that the pilot pays for.
        rows: number of rows to run; as many as the data has, or more, is the whole job.
        seed: seed of the draw of the rows.
        watchers: reporters.
        moved: whether the teacher may be asked at another place than the run directory knows.

    Raises:
        RtError: as :func:`rt_framework.jobs.running.run`.
    """
    if config.data.shard is not None:
        raise ConfigError("a pilot draws its rows from all samples: do not give a shard")
    watch = Stopwatch()
    watchers = [*watchers, watch]
    job = claimed_job(host, config, run_dir, watchers, pilot=True)
    population = job.source.count()
    manner = RunMode(moved=moved) if rows >= population else RunMode(pilot=rows, seed=seed, moved=moved)
    summary = await run(host, config, run_dir, watchers, manner)
    teachers = teachers_of(job.make, job.teachers, job.students)
    barrier = any(step.barrier for step in job.steps)
    with look(run_dir) as ledger:
        priced = bool(teachers) and all(map(is_priced, teachers.values()))
        found = forecast(ledger, ledger.samples.histories(), population, priced)
        told = None
        # Answers from a batch API arrive when the provider chooses, so they have no pace.
        if not barrier and not any(map(goes_in_batches, teachers.values())) and not _was_known(summary.progress):
            told = watch.seconds(population, config.limits.at_once(batched=False))
        return summary, evolve(found, seconds=told, first=watch.first or 0.0)


def forecast(ledger: Ledger, histories: Iterable[SampleHistory], population: int, priced: bool = True) -> Forecast:
    """Extrapolate from some samples to all, without the time, which is not in the ledger.

    Args:
        ledger: holds the cost of the samples.
        histories: the samples, at least one, drawn at random without replacement.
        population: number of rows in all.
        priced: whether the costs in the ledger are real prices.
    """
    costs, rewritten, kept = Moments(), 0, 0
    for history in histories:
        costs.add(own_cost(ledger, history))
        rewritten += history.outcome == "rewritten"
        kept += history.outcome in KEPT
    mean = costs.interval(population) if priced else None
    total = None if mean is None else mean.times(population, least=costs.count * costs.mean)
    return Forecast(
        rows=costs.count,
        population=population,
        rewritten=share(rewritten, costs.count, population),
        kept=share(kept, costs.count, population),
        cost=total,
        budget=None if total is None else round(total.high) + ledger.costs.largest_reservation(),
    )


def own_cost(ledger: Ledger, history: SampleHistory) -> int:
    """Return the nano-dollars paid for a sample's questions: 0 for a repeated row, since the first one paid for it."""
    _, _, occurrence = history.sample.id.rpartition("-")
    return 0 if occurrence != "0" else ledger.costs.about(version.pair.hash for version in history.sample.versions)


def _was_known(progress: Progress) -> bool:
    """Return whether a run mostly looked up known results; its pace then says nothing about a run that has to ask."""
    teacher = progress.teacher
    return teacher.reused > teacher.calls or not (teacher.calls or progress.student.tokens)
