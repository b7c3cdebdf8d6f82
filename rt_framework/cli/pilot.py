"""The command ``rt pilot``."""

from __future__ import annotations

import click

from rt_framework.cli.json_option import json_option, print_json
from rt_framework.cli.numbers import Whole
from rt_framework.cli.run_options import job_options
from rt_framework.cli.run_request import RunRequest
from rt_framework.kit.stdout import all_to_stderr


@click.command()
@job_options
@click.option("-n", "--rows", type=Whole(1), default=50, show_default=True, help="Number of rows to run.")
@click.option("--seed", type=Whole(), default=0, show_default=True, help="Seed of the random draw.")
@json_option
def command(job: RunRequest, rows: int, seed: int, as_json: bool) -> int:
    """Run a few random rows of CONFIG's data, and forecast the cost of all rows. The calls are paid for.

    The answers are kept in the run directory, and 'rt run CONFIG' reuses them. Files about the pilot's rows alone are
    in the folder 'pilot' of that directory.
    """
    import asyncio

    from rt_framework.cli.reporter_options import watching
    from rt_framework.jobs.looking.forecasts import ToldPilot, forecast_in_dollars, going_on
    from rt_framework.jobs.piloting import pilot
    from rt_framework.terminal.cost import show_forecast

    with all_to_stderr(as_json), watching(job.host, job.reporters) as watchers:
        summary, found = asyncio.run(pilot(job.host, job.config, job.run_dir, rows, seed, watchers, job.moved))
    if not as_json:
        job.tell_ways_out(summary)
    forecast = forecast_in_dollars(found)
    again = going_on(job.command(), forecast)
    if as_json:
        print_json(ToldPilot(forecast, summary.errors, again))
    else:
        show_forecast(forecast, again)
    return job.exit_code(summary)
