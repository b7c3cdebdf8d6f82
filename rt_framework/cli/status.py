"""The command ``rt status``."""

from __future__ import annotations

import time
from pathlib import Path

import click

_EVERY = 1.0
"""Seconds between two readings of a run's progress."""

_OLD = 10.0
"""Age in seconds from which the last progress of a run is shown as old."""


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--watch", is_flag=True, help="Show the live screen of the run that is active there, until it ends or Ctrl-C."
)
def command(run_dir: Path, watch: bool) -> None:
    """Show outcomes, cost, failures and scores of the run in RUN_DIR so far. May be called during the run."""
    from rt_framework.rundir import look

    with look(run_dir):  # a path that is no run directory raises before anything is shown
        pass
    if watch and _watch(run_dir):
        return
    _show(run_dir)


def _watch(run_dir: Path) -> bool:
    """Draw the progress of the run that owns the directory, until that run ends. Does not open the ledger.

    Returns:
        whether the user left it by Ctrl-C.
    """
    from rt_framework.concurrency import ctrl_c
    from rt_framework.rundir import live_state, owner
    from rt_framework.terminal import Display, line, stdout

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


def _show(run_dir: Path) -> None:
    """Print the summary of the run directory, from its ledger."""
    from rt_framework.events import Progress
    from rt_framework.kit.places import in_words
    from rt_framework.rundir import count_reviews, look, read_reviews, review_lines, summarise
    from rt_framework.terminal import line, money, stdout, summary_tables, table

    console = stdout()
    with look(run_dir) as ledger:
        reviews = review_lines(count_reviews(read_reviews(run_dir), ledger))
        for made in summary_tables(summarise(ledger, Progress())):
            console.print(made)
        for told in reviews:
            console.print(line(told))
        places = ledger.meta("places")
        if places:
            console.print(line(f"teacher asked at: {in_words(places)}"))
        attempts = [(state, kind, count) for (state, kind), count in ledger.attempts.counts().items()]
        if attempts:
            console.print(table("Teacher requests", ("state", "kind", "count"), attempts, (2,)))
            console.print(line(f"spent: {money(ledger.costs.spent(), priced=not ledger.meta('unpriced'))}"))
        for batch in ledger.batches.open():
            name = f"batch {batch.name}" if batch.name else "a batch that may not have been submitted"
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(batch.created))
            console.print(
                line(f"{name}: {len(batch.questions)} questions since {since}; 'rt run' collects the answers")
            )
        for key in ledger.calls.unknown():
            console.print(line(f"call {key} was under way when the run was killed; it may have been billed"))
