"""The command ``rt pilot``."""

from __future__ import annotations

import click

from rt_framework.cli.numbers import Whole
from rt_framework.cli.run_options import job_options
from rt_framework.cli.run_request import RunRequest


@click.command()
@job_options
@click.option("-n", "--rows", type=Whole(1), default=50, show_default=True, help="Number of rows to run.")
@click.option("--seed", type=Whole(), default=0, show_default=True, help="Seed of the random draw.")
def command(job: RunRequest, rows: int, seed: int) -> int:
    """Run a few random rows of CONFIG's data, and forecast the cost of all rows. The calls are paid for.

    The answers are kept in the run directory, and 'rt run CONFIG' reuses them. Files about the pilot's rows alone are
    in the folder 'pilot' of that directory.
    """
    import asyncio

    from rt_framework.cli.reporter_options import watching
    from rt_framework.jobs.piloting import pilot
    from rt_framework.terminal import show_forecast

    with watching(job.host, job.reporters) as watchers:
        summary, forecast = asyncio.run(pilot(job.host, job.config, job.run_dir, rows, seed, watchers, job.moved))
    job.tell_ways_out(summary)
    show_forecast(forecast, job.command())
    return job.exit_code(summary)
