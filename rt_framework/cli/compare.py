"""``rt compare``."""

from __future__ import annotations

from pathlib import Path

import click

from rt_framework.host import Host


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--scores-a", type=click.Path(path_type=Path), help="What 'rt score' wrote for A, if A is a data file.")
@click.option("--scores-b", type=click.Path(path_type=Path), help="The same for B.")
@click.option("--format", "format_", metavar="NAME", help="Format of the data files; found by itself when left out.")
@click.option("--shape", metavar="NAME", help="Shape of their columns; found by itself when left out.")
@click.option("--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="Our field to your column.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Also write what is found to this file.")
@click.pass_obj
def command(
    host: Host,
    a: Path,
    b: Path,
    scores_a: Path | None,
    scores_b: Path | None,
    format_: str | None,
    shape: str | None,
    columns: tuple[str, ...],
    out: Path | None,
) -> None:
    """Put two data sets side by side: scores, lengths, duplicates, refusals, languages. Trains and asks nothing.

    A and B are data files, or run directories: of these the samples that were kept, with their scores.
    """
    from rt_framework.cli.common import pairs
    from rt_framework.compare import compare, open_side, plain, write_json
    from rt_framework.config import Data
    from rt_framework.console import line, stdout
    from rt_framework.side_by_side import show_comparison

    read = pairs(columns, "--column")
    left = open_side(host, Data(str(a), format_, shape, read), scores_a)
    right = open_side(host, Data(str(b), format_, shape, read), scores_b)
    found = compare(left, right)
    console = stdout()
    show_comparison(console, found, left, right)
    if out is not None:
        write_json(out, plain(found))
        console.print(line(f"wrote {out}"))
