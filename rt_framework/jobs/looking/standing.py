"""The state of a run directory: outcomes, requests, money, batches; and of a pilot its forecast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from rt_framework.events import Handovers, ReviewCounts, Shift, Summary
from rt_framework.jobs.looking.forecasts import ToldForecast, read_forecast
from rt_framework.ledger import Ledger
from rt_framework.rundir import last_folder, owner


@frozen
class ToldRequests:
    """Requests to teachers that ended in one way."""

    state: str
    """``answered``, ``failed``, ``intent``, ``released`` or ``unknown``, as in the [ledger](files.md#attempts)."""
    kind: str | None
    """Kind of the failure."""
    count: int
    """Number of requests."""


@frozen
class ToldBatch:
    """Questions that a provider has in a batch. The next ``rt run`` collects the answers."""

    name: str | None
    """The provider's name of the batch; null if it may not have been submitted."""
    questions: int
    """Number of questions that are still open."""
    created_s: float
    """Time just before it was submitted, in seconds since 1970."""


@frozen
class Standing:
    """The state of a run directory."""

    run_dir: str
    """The directory."""
    owner: str | None
    """Process that runs a job in the directory now, in words; null if none does."""
    is_pilot: bool
    """True if the last run that ended was a pilot: all counts of samples are then about its rows."""
    forecast: ToldForecast | None
    """The forecast of that pilot for all rows."""
    samples: int
    """Number of samples that are accounted for."""
    outcomes: Mapping[str, int]
    """Samples by outcome: ``rewritten``, ``original``, ``dropped``, ``failed``."""
    waiting: int
    """Samples that wait for a stage over the whole data set; not among ``samples``."""
    versions: Mapping[str, int]
    """Kept samples, by the version that was kept."""
    drops: Mapping[str, int]
    """Dropped samples by reason: the most common ones, and all further ones as ``other reasons``."""
    failures: Mapping[str, int]
    """Failed teacher calls and samples, by kind."""
    reviews: ReviewCounts
    """Rewrites that people have reviewed."""
    errors: int
    """Samples that met errors, which ``rt run`` asks for again."""
    handovers: tuple[Handovers, ...]
    """Questions that went to the fallback of a teacher."""
    scores: tuple[Shift, ...]
    """Mean scores before and after, by metric."""
    requests: tuple[ToldRequests, ...]
    """Requests to teachers in all runs of the directory, by their end."""
    spent_usd: float | None
    """Dollars that all runs of the directory have spent or may have spent; null where a teacher has no price."""
    places: tuple[str, ...]
    """Places at which teachers were asked."""
    batches: tuple[ToldBatch, ...]
    """Batches that providers have."""
    doubtful: tuple[str, ...]
    """Keys of the calls that were under way when a run was killed, and may have been billed."""


def standing_of(run_dir: Path, ledger: Ledger, summary: Summary) -> Standing:
    """Return the state of a run directory, of which *summary* sums up the samples.

    Raises:
        DataError: the forecast of a pilot cannot be read.
    """
    folder = last_folder(run_dir)
    is_pilot = folder != run_dir
    counts = ledger.attempts.counts().items()
    return Standing(
        run_dir=str(run_dir),
        owner=owner(run_dir),
        is_pilot=is_pilot,
        forecast=read_forecast(folder) if is_pilot else None,
        samples=summary.total,
        outcomes=summary.outcomes,
        waiting=summary.waiting,
        versions=summary.versions,
        drops=summary.drops,
        failures=summary.failures,
        reviews=summary.reviews,
        errors=summary.errors,
        handovers=summary.handovers,
        scores=summary.shifts,
        requests=tuple(ToldRequests(state, kind or None, count) for (state, kind), count in counts),
        spent_usd=None if ledger.meta("unpriced") else ledger.costs.spent() / 1e9,
        places=tuple(ledger.meta("places") or ()),
        batches=tuple(ToldBatch(one.name, len(one.questions), one.created) for one in ledger.batches.open()),
        doubtful=tuple(ledger.calls.unknown()),
    )
