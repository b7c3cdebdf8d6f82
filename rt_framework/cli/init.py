"""The command ``rt init``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path), help="File to write the config to.  [default: rt.yaml]")
@click.option(
    "--prompt",
    type=click.Path(path_type=Path),
    metavar="NAME",
    help="Write a prompt file for the teacher; the config too only if DATA or --out is given.",
)
def command(data: Path | None, out: Path | None, prompt: Path | None) -> None:
    """Write a commented config that rewrites DATA, or a commented prompt file for the teacher, or both.

    A NAME without an ending gets '.md'. Nothing that exists is overwritten.
    """
    from rt_framework.jobs.starters import write_starters
    from rt_framework.text import shown

    for line in write_starters(data, out, prompt):
        click.echo(shown(line))
