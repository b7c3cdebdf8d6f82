"""``rt status``."""

from __future__ import annotations

import time
from pathlib import Path

import click


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
def command(run_dir: Path) -> None:
    """Show what the run in RUN_DIR did so far: outcomes, cost, failures, scores. May be called while it runs."""
    from rt_framework.batchbook import BatchBook
    from rt_framework.cli.common import reader
    from rt_framework.console import dollars, line, stdout, summary_tables, table
    from rt_framework.host import Reporters
    from rt_framework.summary import summarise
    from rt_framework.tally import Tally

    ledger = reader(run_dir)
    console = stdout()
    try:
        for made in summary_tables(summarise(ledger, Tally(Reporters([])))):
            console.print(made)
        attempts = [(state, kind, count) for (state, kind), count in ledger.attempt_counts().items()]
        if attempts:
            console.print(table("Teacher requests", ("state", "kind", "count"), attempts, (2,)))
            console.print(line(f"spent: {dollars(ledger.spent())}"))
        for batch in BatchBook(ledger).open():
            name = f"batch {batch.name}" if batch.name else "a batch that was perhaps not submitted"
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(batch.created))
            console.print(
                line(f"{name}: {len(batch.questions)} questions since {since}; 'rt run' collects the answers")
            )
        for key in ledger.unknown_calls():
            console.print(line(f"call {key} was under way when the run was killed; it may have been billed"))
    finally:
        ledger.close()
