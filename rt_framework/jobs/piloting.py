"""A few rows first: run them, and say from them what all rows will cost, take and give."""

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
from rt_framework.ledger import KEPT, Ledger, Story
from rt_framework.pipeline import goes_in_batches
from rt_framework.plugin import Host
from rt_framework.rundir import look
from rt_framework.teacher import is_priced


@frozen
class Forecast:
    """What a pilot says of all rows, each with its 95 % interval."""

    rows: int
    """Rows that were run."""
    population: int
    """Rows in all."""
    rewritten: Estimate
    """Share of the samples that keep a rewrite, 0 … 1."""
    kept: Estimate
    """Share of the samples that are kept at all, 0 … 1."""
    cost: Estimate | None
    """Nano-dollars of the whole job, the pilot included; ``None`` when one row is too few, or nothing has a price."""
    budget: int | None
    """Nano-dollars that ``limits.budget_usd`` needs: the upper end, and room to reserve one more call."""
    seconds: Estimate | None = None
    """Time of the whole job, at the pace at which the pilot's rows were finished; ``None`` when that says nothing."""
    first: float = 0.0
    """Seconds until the pilot's first row was finished; not in *seconds*."""


class Stopwatch:
    """A reporter that keeps the gaps between finished samples."""

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
        """Take the time since the one before."""
        now = time.monotonic()
        if self.first is None:
            self.first = now - self._began
        else:
            self.gaps.add(now - self._last)
        self._last = now

    def seconds(self, population: int, in_flight: int) -> Estimate | None:
        """How long so many rows take at this pace; ``None`` when there are too few gaps.

        While fewer rows were run than are under way at once, all of them are begun before the first is finished, and
        the gaps miss what was done until then. So the upper end is then at least the pace with the start counted.
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
    """Run *rows* rows, drawn at random, in the directory of the whole job, and extrapolate.

    Args:
        host: finds the plugins.
        config: the whole job.
        run_dir: of the whole job; what the pilot pays for is there for it.
        rows: how many to run; as many as there are, or more, is the whole job.
        seed: which rows.
        watchers: reporters.
        moved: whether the teacher may be asked at another place than the run directory knows.

    Raises:
        RtError: as :func:`rt_framework.jobs.running.run`.
    """
    if config.data.shard is not None:
        raise ConfigError("a pilot draws its rows from all samples: leave the shard out")
    watch = Stopwatch()
    watchers = [*watchers, watch]
    job = claimed_job(host, config, run_dir, watchers, pilot=True)
    population = job.source.count()
    manner = RunMode(moved=moved) if rows >= population else RunMode(pilot=rows, seed=seed, moved=moved)
    summary = await run(host, config, run_dir, watchers, manner)
    teacher = None if config.teacher is None else job.make.spec("teachers", config.teacher)
    barrier = any(step.barrier for step in job.steps)
    ledger = look(run_dir)
    try:
        found = forecast(ledger, ledger.stories(), population, is_priced(teacher))
        told = None
        # Answers that come by the batch, when the provider likes, have no pace.
        if not barrier and not goes_in_batches(teacher) and not _was_known(summary.progress):
            told = watch.seconds(population, config.limits.at_once(batched=False))
        return summary, evolve(found, seconds=told, first=watch.first or 0.0)
    finally:
        ledger.close()


def forecast(ledger: Ledger, stories: Iterable[Story], population: int, priced: bool = True) -> Forecast:
    """What some samples say of all, without the time, which is not in the ledger.

    Args:
        ledger: knows what they cost.
        stories: the samples, at least one, drawn at random without replacement.
        population: number of rows in all.
        priced: whether what the ledger calls a cost is one.
    """
    costs, rewritten, kept = Moments(), 0, 0
    for story in stories:
        costs.add(own_cost(ledger, story))
        rewritten += story.outcome == "rewritten"
        kept += story.outcome in KEPT
    mean = costs.interval(population) if priced else None
    total = None if mean is None else mean.times(population, least=costs.count * costs.mean)
    return Forecast(
        rows=costs.count,
        population=population,
        rewritten=share(rewritten, costs.count, population),
        kept=share(kept, costs.count, population),
        cost=total,
        budget=None if total is None else round(total.high) + ledger.dearest(),
    )


def own_cost(ledger: Ledger, story: Story) -> int:
    """Nano-dollars paid for a sample's questions; nothing for a repeated row, whose answers the first one pays for."""
    _, _, occurrence = story.sample.id.rpartition("-")
    return 0 if occurrence != "0" else ledger.cost_of(version.pair.hash for version in story.sample.versions)


def _was_known(progress: Progress) -> bool:
    """Whether a run mostly looked things up, so that its pace says nothing of one that has to ask."""
    return progress.reused_calls > progress.calls or not (progress.calls or progress.forward_tokens)
