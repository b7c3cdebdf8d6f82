"""The command ``rt reparse``."""

from __future__ import annotations

import click

from rt_framework.cli.run_options import job_options
from rt_framework.cli.run_request import RunRequest


@click.command()
@job_options
def command(job: RunRequest) -> int:
    """Read the answers of CONFIG's run anew and decide again, without asking the teacher anything.

    For a parser, selector or gate that has changed. What has no answer yet keeps the version it has.
    """
    from rt_framework.jobs.running import RunMode

    return job.exit_code(job.run(RunMode(ask=False)))
