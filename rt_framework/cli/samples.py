"""The command ``rt samples``."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from rt_framework.cli.json_option import json_lines_option, print_json_line
from rt_framework.cli.names import name_option, parts
from rt_framework.cli.numbers import Whole
from rt_framework.errors import KINDS
from rt_framework.rundir import OUTCOMES

_SHOWN = 20
"""Lines that are printed if the user says nothing else."""


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--outcome",
    "outcomes",
    type=click.Choice(["kept", *OUTCOMES, "waiting"]),
    multiple=True,
    help="Samples with this outcome; kept is rewritten or original. May be given more than once.",
)
@click.option("--version", "kept", metavar="NAME", help="Samples that were kept in this version: 'response', …")
@click.option("--reason", metavar="TEXT", help="Samples that were dropped or failed for a reason with this text.")
@click.option(
    "--failure", type=click.Choice(list(KINDS)), metavar="KIND", help="Samples that met a failure of this kind."
)
@click.option("--status", metavar="STATUS", help="Samples with a score of this status: 'out_of_range', …")
@click.option("--search", metavar="TEXT", help="Samples that hold this text, in capital or small letters.")
@name_option("--lowest", names=parts("metrics"), metavar="METRIC", help="Begin with the lowest score of this metric.")
@name_option("--highest", names=parts("metrics"), metavar="METRIC", help="Begin with the highest score.")
@click.option("-n", "--lines", type=Whole(0), help="Most lines to print, 0 for all; default: 20, with --json all.")
@json_lines_option
def command(
    run_dir: Path,
    outcomes: tuple[str, ...],
    lowest: str | None,
    highest: str | None,
    lines: int | None,
    as_json: bool,
    **conditions: str | None,
) -> None:
    """List the samples of the run in RUN_DIR, a line each, with the scores of the version that each ended with.

    If several conditions are given, all have to hold.
    """
    from contextlib import closing
    from itertools import islice

    from rt_framework.jobs.looking.sample_list import main_metrics, sample_list
    from rt_framework.kit.stdout import until_closed
    from rt_framework.ledger import KEPT
    from rt_framework.results import Wanted, open_run
    from rt_framework.terminal.samples import list_samples, show_matching

    if lowest is not None and highest is not None:
        raise click.UsageError("--lowest and --highest are two orders; give one of them")
    named = tuple(name for one in outcomes for name in (KEPT if one == "kept" else (one,)))
    by = lowest or highest
    wanted = Wanted(outcomes=named, by=by, falling=highest is not None, **conditions)
    most = lines if lines is not None else 0 if as_json else _SHOWN
    with open_run(run_dir) as run, closing(sample_list(run, wanted)) as listed, until_closed():
        some = islice(listed, most or None)
        if as_json:
            for one in some:
                print_json_line(one)
            return
        list_samples(some, main_metrics(run, by))
        show_matching(run.count(wanted), run.count(Wanted()), most, f"rt explain {quote(str(run_dir))} ROW")
