"""The command ``rt retry``."""

from __future__ import annotations

import click

from rt_framework.cli.names import completing
from rt_framework.cli.run_options import job_options
from rt_framework.cli.run_request import RunRequest
from rt_framework.errors import KINDS


@click.command()
@job_options
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    required=True,
    metavar="KIND",
    shell_complete=completing(lambda: KINDS),
    help="Kind of failure; may be given more than once.",
)
def command(job: RunRequest, kinds: tuple[str, ...]) -> int:
    """Ask again for the rewrites of CONFIG's run that failed with these kinds, and resume the run. This is paid for.

    'rt status' lists the kinds. 'rt run' alone asks again only where no answer arrived.
    """
    from rt_framework.jobs.running import RunMode
    from rt_framework.text import suggestion

    for kind in kinds:
        if kind not in KINDS:
            raise click.UsageError(f"--kind {kind}: no such kind.{suggestion(kind, list(KINDS))}")
    return job.exit_code(job.run(RunMode(retry=kinds)))
