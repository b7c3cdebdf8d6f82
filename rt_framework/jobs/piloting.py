"""A pilot: a run of a few rows, from which cost, time and results of all rows are extrapolated."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import evolve

from rt_framework.config import Config
from rt_framework.errors import ConfigError
from rt_framework.events import Progress, Summary
from rt_framework.jobs.looking.forecasts import Forecast, forecast_in_dollars, write_forecast
from rt_framework.jobs.running import RunMode, claimed_job, run
from rt_framework.jobs.stopwatch import Stopwatch
from rt_framework.kit.estimates import Moments, share
from rt_framework.ledger import KEPT, Ledger, SampleHistory
from rt_framework.pipeline import goes_in_batches, teachers_of
from rt_framework.plugin import Host
from rt_framework.rundir import look, pilot_dir
from rt_framework.teacher import is_priced


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
        found = evolve(found, seconds=told, first=watch.first or 0.0)
    if manner.pilot is not None:
        write_forecast(pilot_dir(run_dir), forecast_in_dollars(found))
    return summary, found


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
