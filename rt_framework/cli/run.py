"""The command ``rt run``."""

from __future__ import annotations

import click

from rt_framework.cli.json_option import json_option, print_json
from rt_framework.cli.run_options import job_options
from rt_framework.cli.run_request import RunRequest


@click.command()
@job_options
@click.option("--dry-run", is_flag=True, help="Only print the calls and the cost to expect; send and write nothing.")
@json_option
def command(job: RunRequest, dry_run: bool, as_json: bool) -> int:
    """Run the job that CONFIG describes. The same command resumes it after a stop.

    Paths in CONFIG are relative to the current directory. Ctrl-C waits for the calls under way, because they are paid
    for; a second Ctrl-C leaves at once.
    """
    if dry_run:
        from rt_framework.jobs.looking.quotes import quote_in_dollars
        from rt_framework.jobs.quoting import quote
        from rt_framework.kit.stdout import others_to_stderr
        from rt_framework.terminal.cost import show_quote

        with others_to_stderr():
            quoted = quote(job.host, job.config, job.run_dir, job.moved)
        if as_json:
            print_json(quote_in_dollars(quoted, job.config))
        else:
            show_quote(quoted, job.config)
        return 0
    if as_json:
        raise click.UsageError("--json goes with --dry-run; '--reporter jsonl' prints the events of a run as JSON")
    from rt_framework.jobs.running import RunMode

    return job.exit_code(job.run(RunMode()))
