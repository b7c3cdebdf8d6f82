"""The command ``rt score``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rt_framework.cli.data_options import data_options, overwrite_option
from rt_framework.cli.plugin_options import ChoosingCommand
from rt_framework.cli.scorer_options import CHOICES, scorer_options
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.config import Data
    from rt_framework.jobs.scoring import Scorers


@click.command(cls=ChoosingCommand, choices=CHOICES)
@data_options
@scorer_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="File for the scores, as JSON lines; losses are kept in OUT.rt.",
)
@overwrite_option
@click.pass_obj
def command(host: Host, data: Data, limit: int | None, scorers: Scorers, out: Path, overwrite: bool) -> None:
    """Score every sample of DATA, and write one line for each, in input order.

    The options of the named plugins are options too: 'rt score --student hf:MODEL --help' lists --student-dtype and
    others.
    """
    import asyncio

    from rt_framework.cli.reporter_options import watching
    from rt_framework.data import open_source
    from rt_framework.jobs.scoring import score_file
    from rt_framework.text import number_of, shown

    source = open_source(host, data, limit)
    with watching(host, ["console"]) as watchers:
        summary = asyncio.run(score_file(host, source, scorers, out, watchers, overwrite))
    counts, seconds = summary.progress.student, summary.progress.seconds
    reused = f"{number_of(counts.reused, 'loss', 'losses')} from the ledger"
    tokens = f"{number_of(counts.tokens, 'student token')} computed, {counts.tokens / seconds:.0f}/s"
    click.echo(f"{tokens}, {reused}; {seconds:.1f} s")
    found = [f"{count} {status}" for status, count in summary.outcomes.items()]
    found += [f"{summary.unreadable} unreadable and left out"] if summary.unreadable else []
    click.echo(shown(f"{out}: {', '.join(found)}"))
    if summary.failures:
        without = number_of(sum(summary.failures.values()), "sample")
        kinds = ", ".join(f"{count} {status}" for status, count in summary.failures.items())
        click.echo(shown(f"{without} without every score: {kinds}; 'reason' in {out} says more"))
