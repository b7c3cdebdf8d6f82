"""The command ``rt init``."""

from __future__ import annotations

from pathlib import Path

import click

from rt_framework.cli.data_options import pairs, reading_options
from rt_framework.cli.names import name_option, parts
from rt_framework.plugin import Host


@click.command()
@click.argument("data", type=click.Path(), required=False)
@name_option("--student", names=parts("students"), metavar="NAME:MODEL", help="The model to be tuned.")
@name_option(
    "--teacher",
    names=parts("teachers"),
    metavar="MODEL",
    help="The model that rewrites: openai/gpt-5-mini, as litellm names it, or NAME:MODEL of another teacher.",
)
@click.option("--out", type=click.Path(path_type=Path), help="File to write the config to.  [default: rt.yaml]")
@click.option(
    "--prompt",
    type=click.Path(path_type=Path),
    metavar="NAME",
    help="Write a prompt file for the teacher; the config too only if anything else is given.",
)
@reading_options
@click.pass_obj
def command(
    host: Host,
    data: str | None,
    student: str | None,
    teacher: str | None,
    out: Path | None,
    prompt: Path | None,
    format_: str | None,
    shape: str | None,
    columns: tuple[str, ...],
) -> None:
    """Write a commented config that rewrites DATA, or a commented prompt file for the teacher, or both.

    DATA is looked at first: the config fits it, and the command says what it holds. A NAME without an ending gets
    '.md'. Nothing that exists is overwritten, and nothing is downloaded.
    """
    from rt_framework.config import Data
    from rt_framework.jobs.starters import write_starters
    from rt_framework.text import shown

    read = None if data is None else Data(data, format_, shape, pairs(columns, "--column"))
    for line in write_starters(host, read, out, prompt, student, teacher):
        click.echo(shown(line))
