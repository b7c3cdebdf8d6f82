"""The command ``rt select``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rt_framework.cli.data_options import data_options, overwrite_option
from rt_framework.cli.names import name_option
from rt_framework.cli.plugin_options import ChoosingCommand, chosen
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.config import Data


def _selectors() -> list[str]:
    """Return the names of the built-in selectors over a data set."""
    entries = (entry for entry in Host(only=()).registry.entries() if entry.kind == "selectors")
    return [entry.name for entry in entries if hasattr(entry.load(), "select")]


@click.command(cls=ChoosingCommand, choices={"by": "selectors"})
@data_options
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    help="Output of 'rt score' for DATA, for a selector that reads scores; a run directory has its own.",
)
@name_option(
    "--by",
    names=_selectors,
    required=True,
    metavar="SELECTOR",
    help="Selector, as in a config: '{top: {metric: ifd, fraction: 0.05}}'.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File for the selected samples.")
@click.option("--dropped", type=click.Path(path_type=Path), help="File for the other samples.")
@overwrite_option
@click.pass_obj
def command(
    host: Host,
    data: Data,
    limit: int | None,
    scores: Path | None,
    by: str,
    out: Path,
    dropped: Path | None,
    overwrite: bool,
) -> None:
    """Select samples of DATA by their scores, which are matched by id. Loads no model.

    DATA may be a run directory: it stands for the samples that the run kept, with the scores of the kept versions.

    The options of the selector are options too: 'rt select --by top --help' lists --by-metric and others.
    """
    from rt_framework.cli.run_or_data import run_directory
    from rt_framework.data import open_source
    from rt_framework.jobs.selecting import select_file, select_kept
    from rt_framework.text import shown

    selector, run_dir = chosen("by", by), run_directory(data, limit, scores)
    if run_dir is not None:
        done = select_kept(host, run_dir, selector, out, dropped, overwrite)
    else:
        done = select_file(host, open_source(host, data, limit), scores, selector, out, dropped, overwrite)
    click.echo(shown(done))
