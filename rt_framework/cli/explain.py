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
    from rt_framework.results import open_run
    from rt_framework.terminal import tell

    with open_run(run_dir) as run:
        tell(run, run.sample(sample))
