"""The command ``rt report``."""

from __future__ import annotations

from pathlib import Path

import click

from rt_framework.cli.data_options import overwrite_option
from rt_framework.cli.numbers import Number


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="HTML file to write; default: report.html in RUN_DIR.")
@click.option(
    "--megabytes",
    type=Number(0.1),
    default=24.0,
    show_default=True,
    help="Approximate size limit of the file; if the texts of the samples need more, long texts are cut and marked.",
)
@overwrite_option
def command(run_dir: Path, out: Path | None, megabytes: float, overwrite: bool) -> None:
    """Show the run in RUN_DIR as one HTML page: scores, lengths, controls, cost, and every sample with its reasons.

    The page is one file that loads nothing: open it in any browser, send it to anyone who may read the data.
    """
    from rt_framework.report import write_report
    from rt_framework.text import shown

    click.echo(shown(f"wrote {write_report(run_dir, out, megabytes, overwrite)}"))
