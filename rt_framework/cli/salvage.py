"""The command ``rt salvage``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def command(run_dir: Path, out: Path) -> None:
    """Copy the readable part of the damaged ledger in RUN_DIR into the new run directory OUT. RUN_DIR is not changed.

    A run in OUT then asks and computes only what could not be read.
    """
    from rt_framework.jobs.salvaging import salvage
    from rt_framework.text import shown

    found = salvage(run_dir, out)
    read = f"{found.answers} answers of {found.attempts} requests and {found.losses} losses were recovered"
    click.echo(shown(f"{out}: {read}; a run in that directory resumes with them"))
