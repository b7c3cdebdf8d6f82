"""The command ``rt status``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from rt_framework.cli.json_option import json_option, print_json

_EVERY = 1.0
"""Seconds between two readings of a run's progress."""

_OLD = 10.0
"""Age in seconds from which the last progress of a run is shown as old."""


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--watch", is_flag=True, help="Show the live screen of the run that is active there, until it ends or Ctrl-C."
)
@json_option
def command(run_dir: Path, watch: bool, as_json: bool) -> None:
    """Show outcomes, cost, failures and scores of the run in RUN_DIR so far. May be called during the run."""
    from rt_framework.rundir import look

    if watch and as_json:
        raise click.UsageError("--watch draws a screen, and --json prints once; give one of them")
    with look(run_dir):  # a path that is no run directory raises before anything is shown
        pass
    if watch and _watch(run_dir):
        return
    _show(run_dir, as_json)


def _watch(run_dir: Path) -> bool:
    """Draw the progress of the run that owns the directory, until that run ends. Does not open the ledger.

    Returns:
        whether the user left it by Ctrl-C.
    """
    from rt_framework.concurrency import ctrl_c
    from rt_framework.rundir import live_state, owner
    from rt_framework.terminal.live import Display
    from rt_framework.terminal.printing import line, stdout

    console = stdout()
    display = Display(console)
    with ctrl_c() as pressed:
        who = owner(run_dir)
        console.print(line(f"{run_dir}: {f'in use by {who}' if who else 'no run is active in this directory'}"))
        try:
            while not pressed and owner(run_dir):
                said = live_state.read(run_dir)
                if said is not None:
                    display.show(said.progress, _old(time.time() - said.written))
                time.sleep(_EVERY)
        finally:
            display.close()
    if who and not pressed:
        console.print(line(f"{run_dir}: the run has ended"))
    return bool(pressed)


def _old(age: float) -> tuple[str, ...]:
    return (f"these numbers are {age:.0f} s old; the run is busy or hangs",) if age > _OLD else ()


def _show(run_dir: Path, as_json: bool) -> None:
    """Print the state of the run directory, from its ledger."""
    from attrs import evolve

    from rt_framework.events import Progress
    from rt_framework.jobs.looking.standing import standing_of
    from rt_framework.rundir import count_reviews, look, read_reviews, summarise
    from rt_framework.terminal.standing import show_standing

    with look(run_dir) as ledger:
        reviews = count_reviews(read_reviews(run_dir), ledger)
        summary = evolve(summarise(ledger, Progress()), reviews=reviews)
        standing = standing_of(run_dir, ledger, summary)
        if as_json:
            print_json(standing)
        else:
            show_standing(standing, summary, ledger.costs.spent())
