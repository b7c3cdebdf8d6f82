"""The command ``rt export``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rt_framework.cli.data_options import column_option, overwrite_option, pairs
from rt_framework.cli.names import name_option, parts, shapes
from rt_framework.cli.sample_options import turn_options, unreadable_option
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.config import Data


def _packs() -> Iterable[str]:
    from rt_framework.export import PACKS

    return PACKS


@click.command()
@click.argument("place", metavar="RUN_DIR|DATA", type=click.Path())
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File or directory to write.")
@name_option(
    "--format",
    "format_",
    names=parts("formats"),
    metavar="NAME",
    help="Format of OUT; default: by its ending, or as the input.",
)
@name_option("--shape", names=shapes, metavar="NAME", help="Shape of the columns of OUT; default: as the input.")
@click.option("--dropped", is_flag=True, help="Write the samples that were not kept instead.")
@name_option("--pack", names=_packs, metavar="NAME", help="Write OUT as a folder that a trainer reads.")
@click.option("--hub-folder", is_flag=True, help="Write OUT as a folder for the Hugging Face hub, with a data card.")
@click.option("--license", "license_", metavar="ID", help="Licence of the data, for the card: cc-by-4.0, other, …")
@column_option
@turn_options
@unreadable_option
@overwrite_option
@click.pass_obj
def command(
    host: Host,
    place: str,
    out: Path,
    format_: str | None,
    shape: str | None,
    dropped: bool,
    pack: str | None,
    hub_folder: bool,
    license_: str | None,
    columns: tuple[str, ...],
    trained: Literal["last", "all", "marked"],
    unroll: bool,
    unreadable: Literal["refuse", "drop"],
    overwrite: bool,
) -> None:
    """Write the samples that the run in RUN_DIR kept, in any format and shape, or for a trainer or the hub.

    With --pack a data file DATA may stand in the place of RUN_DIR: all its samples are written for the trainer.
    """
    from rt_framework.config import Data
    from rt_framework.export import export_file, export_hub
    from rt_framework.text import shown

    _check(format_ or shape or dropped, pack, hub_folder, license_)
    data = Data(place, columns=pairs(columns, "--column"), trained=trained, unroll=unroll, unreadable=unreadable)
    if data != Data(place) and pack is None:
        raise click.UsageError(
            "--column, --trained, --unroll and --unreadable can only be used with --pack and a data file"
        )
    if pack is not None:
        done = _export_pack(host, data, out, pack, overwrite)
    elif hub_folder:
        done = export_hub(host, Path(place), out, license_, overwrite)
    else:
        done = export_file(host, Path(place), out, format_, shape, dropped, overwrite)
    click.echo(shown(done))


def _export_pack(host: Host, data: Data, out: Path, pack: str, overwrite: bool) -> str:
    """Write a pack of a run or of a data set, whichever is at the place of *data*."""
    from rt_framework.cli.run_or_data import run_directory
    from rt_framework.data import open_source
    from rt_framework.export import export_data_pack, export_pack

    run_dir = run_directory(data)
    if run_dir is None and (data.is_on_hub or Path(data.path).exists()):
        return export_data_pack(host, open_source(host, data), out, pack, overwrite)
    return export_pack(host, Path(data.path), out, pack, overwrite)


def _check(form: object, pack: str | None, hub_folder: bool, license_: str | None) -> None:
    """Check that the options do not contradict each other."""
    if pack is not None and hub_folder:
        raise click.UsageError("--pack and --hub-folder write different folders; call rt export once for each")
    if form and (pack is not None or hub_folder):
        raise click.UsageError("--format, --shape and --dropped cannot be used with --pack or --hub-folder")
    if license_ is not None and not hub_folder:
        raise click.UsageError("--license can only be used with --hub-folder")
