"""``rt run``."""

from __future__ import annotations

import click

from rt_framework.cli.job import Job, job_options


@click.command()
@job_options
def command(job: Job) -> int:
    """Run the job that CONFIG describes. The same command again goes on where it stopped.

    Paths in CONFIG are relative to the current directory. Ctrl-C waits for calls under way, since they are paid for;
    a second one leaves at once.
    """
    from rt_framework.runner import Manner

    return job.exit_code(job.run(Manner()))
