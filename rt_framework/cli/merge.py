"""The command ``rt merge``."""

from __future__ import annotations

from pathlib import Path

import click

from rt_framework.plugin import Host


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("shards", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.pass_obj
def command(host: Host, config: Path, out: Path, shards: tuple[Path, ...]) -> None:
    """Merge the run directories of all SHARDS of CONFIG's job into the new run directory OUT.

    OUT is then as a single run would have left it: 'rt run CONFIG --run-dir OUT' resumes it and pays for nothing twice.
    That config may have stages over the whole data set.
    """
    from rt_framework.config import read_config
    from rt_framework.jobs.merging import merge
    from rt_framework.terminal.console import summary_tables
    from rt_framework.terminal.printing import stdout
    from rt_framework.text import shown

    summary = merge(host, read_config(config), out, shards)
    for made in summary_tables(summary):
        stdout().print(made)
    for path in summary.files:
        click.echo(shown(path))
