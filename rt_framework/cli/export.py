"""``rt export``."""

from __future__ import annotations

from pathlib import Path

import click

from rt_framework.host import Host


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File or directory to write.")
@click.option("--format", "format_", metavar="NAME", help="Its format; OUT's ending decides when left out.")
@click.option("--shape", metavar="NAME", help="Shape of its columns; as the input when left out.")
@click.option("--dropped", is_flag=True, help="The samples that were not kept.")
@click.pass_obj
def command(host: Host, run_dir: Path, out: Path, format_: str | None, shape: str | None, dropped: bool) -> None:
    """Write the samples that the run in RUN_DIR kept, in any format and shape."""
    from rt_framework.outputs import export
    from rt_framework.plain import shown

    click.echo(shown(export(host, run_dir, out, format_, shape, dropped)))
