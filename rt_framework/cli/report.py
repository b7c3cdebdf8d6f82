"""The command ``rt report``."""

from __future__ import annotations

from pathlib import Path

import click

from rt_framework.cli.data_options import overwrite_option
from rt_framework.cli.numbers import Number


@click.command()
@click.argument("run_dirs", metavar="RUN_DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="HTML file to write; default: report.html in RUN_DIR. Several runs need it.",
)
@click.option(
    "--megabytes",
    type=Number(0.1),
    default=24.0,
    show_default=True,
    help="Approximate size limit of the file; if the texts of the samples need more, long texts are cut and marked.",
)
@overwrite_option
def command(run_dirs: tuple[Path, ...], out: Path | None, megabytes: float, overwrite: bool) -> None:
    """Show the run in RUN_DIR as one HTML page: whether to train on the result, and every sample with its reasons.

    With several RUN_DIRs the page shows the runs side by side, without their samples. The page is one file that loads
    nothing: open it in any browser, send it to anyone who may read the data.
    """
    from rt_framework.report import write_beside, write_report
    from rt_framework.text import shown

    if len(run_dirs) == 1:
        path = write_report(run_dirs[0], out, megabytes, overwrite)
    elif out is None:
        raise click.UsageError("several runs side by side are a page of their own: name it with --out FILE.html")
    else:
        path = write_beside(run_dirs, out, overwrite)
    click.echo(shown(f"wrote {path}"))
