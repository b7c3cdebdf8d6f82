"""The argument of commands that take a run directory or a data set."""

from __future__ import annotations

from pathlib import Path

import click

from rt_framework.config import Data
from rt_framework.rundir import LEDGER


def run_directory(data: Data, *others: object) -> Path | None:
    """Return the run directory that DATA is, for a command that takes one in its place; ``None`` if DATA is data.

    Args:
        data: the argument DATA with its options.
        others: values of further options that say how to read data; ``None`` where one is not given.

    Raises:
        click.UsageError: DATA is a run directory, and one of these options is given.
    """
    path = Path(data.path)
    if data.is_on_hub or not (path / LEDGER).is_file():
        return None
    if data != Data(data.path) or any(other is not None for other in others):
        raise click.UsageError(f"{path} is a run directory, which says itself how its data is read and scored")
    return path
