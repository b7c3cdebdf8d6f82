"""The command ``rt reparse``."""

from __future__ import annotations

import click

from rt_framework.cli.run_options import job_options
from rt_framework.cli.run_request import RunRequest


@click.command()
@job_options
def command(job: RunRequest) -> int:
    """Parse the stored answers of CONFIG's run again and repeat all decisions, without asking the teacher anything.

    Use it after a parser, selector or gate has changed. A sample without an answer keeps its current version.
    """
    from rt_framework.jobs.running import RunMode

    return job.exit_code(job.run(RunMode(ask=False)))
