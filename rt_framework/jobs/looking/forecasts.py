"""The forecast of a pilot: in nano-dollars as it is computed, in dollars as it is printed and kept."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cattrs
from attrs import frozen

from rt_framework.data import Destination, whole
from rt_framework.errors import DataError
from rt_framework.kit.as_json import json_text
from rt_framework.kit.estimates import Estimate

_FORECAST = "forecast.json"
"""File in the folder of a pilot."""


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


@frozen
class ToldForecast:
    """A pilot's forecast for all rows; each estimate has a 95 % interval."""

    rows: int
    """Number of rows that were run."""
    population: int
    """Number of all rows."""
    rewritten: Estimate
    """Share of the samples that keep a rewrite."""
    kept: Estimate
    """Share of the samples that are kept, in any version."""
    cost_usd: Estimate | None
    """Dollars of the whole job, the pilot included; null if only one row was run, or nothing has a price."""
    budget_usd: float | None
    """Dollars that ``limits.budget_usd`` needs for the whole job: the upper end of the cost, and room for one more
    call."""
    duration_s: Estimate | None
    """Seconds of the whole job at the pace of the pilot; null if that pace says nothing about the whole job."""
    first_s: float
    """Seconds until the first row was finished; not contained in ``duration_s``."""


@frozen
class ToldPilot:
    """The result of a pilot."""

    forecast: ToldForecast
    """The forecast for all rows."""
    errors: int
    """Samples that met errors, which a further run asks for again."""
    next: str
    """Command that runs all rows and reuses what the pilot paid for, with the budget that the forecast needs."""


def forecast_in_dollars(forecast: Forecast) -> ToldForecast:
    """Return a forecast as people and programs get it."""
    return ToldForecast(
        rows=forecast.rows,
        population=forecast.population,
        rewritten=forecast.rewritten,
        kept=forecast.kept,
        cost_usd=None if forecast.cost is None else forecast.cost.times(1e-9),
        budget_usd=None if forecast.budget is None else forecast.budget / 1e9,
        duration_s=forecast.seconds,
        first_s=forecast.first,
    )


def going_on(command: str, forecast: ToldForecast) -> str:
    """Return the command that runs all rows, with the budget that they need.

    Args:
        command: the command without it.
        forecast: the forecast for all rows.
    """
    needed = forecast.budget_usd
    return f"{command} --set limits.budget_usd={_cents(needed)}" if needed else command


def _cents(amount: float) -> str:
    """Return dollars rounded up to whole cents, or below one dollar to three significant digits."""
    digits = max(2, 2 - math.floor(math.log10(amount)))
    return f"{math.ceil(amount * 10**digits) / 10**digits:.{digits}f}"


def write_forecast(folder: Path, forecast: ToldForecast) -> None:
    """Write a forecast beside the outputs of its pilot.

    Raises:
        DiskError: it cannot be written.
    """
    with whole(Destination(folder / _FORECAST, "--run-dir", record=folder)) as part:
        part.write_text(json_text(forecast, indent=1) + "\n", "utf-8")


def read_forecast(folder: Path) -> ToldForecast | None:
    """Return the forecast in the folder of a pilot; ``None`` if an older release made the pilot.

    Raises:
        DataError: it cannot be read.
    """
    path = folder / _FORECAST
    if not path.is_file():
        return None
    try:
        return cattrs.structure(json.loads(path.read_bytes()), ToldForecast)
    except Exception as error:  # cattrs raises groups
        raise DataError(f"{path}: the forecast cannot be read: {error}; 'rt pilot' makes it anew") from error
