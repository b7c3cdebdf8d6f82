"""The command ``rt explain``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("sample")
def command(run_dir: Path, sample: str) -> None:
    """Show the whole history of SAMPLE: its row number (from 0), its id, or the beginning of its id.

    Up to 15 digits alone are a row number; 16 or more digits are the beginning of an id.
    """
    from rt_framework.errors import DataError
    from rt_framework.ledger import is_row
    from rt_framework.rundir import look
    from rt_framework.terminal import tell

    with look(run_dir) as ledger:
        # The argument may hold lone surrogates, which stand for bytes that are no text.
        found = ledger.samples.find(sample.encode("utf-8", "replace").decode())
        if not found and is_row(sample):
            raise DataError(f"{run_dir}: row {sample} (from 0) is not among the samples of the last run")
        if len(found) != 1:
            what = "no sample matches" if not found else f"{len(found)} samples match"
            raise DataError(f"{run_dir}: {what} '{sample}'; give an id or a row number")
        tell(ledger, found[0])
