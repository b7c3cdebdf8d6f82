"""The command ``rt export``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from rt_framework.cli.data_options import overwrite_option
from rt_framework.cli.names import name_option, parts, shapes
from rt_framework.plugin import Host


def _packs() -> Iterable[str]:
    from rt_framework.export import PACKS

    return PACKS


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
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
@overwrite_option
@click.pass_obj
def command(
    host: Host,
    run_dir: Path,
    out: Path,
    format_: str | None,
    shape: str | None,
    dropped: bool,
    pack: str | None,
    hub_folder: bool,
    license_: str | None,
    overwrite: bool,
) -> None:
    """Write the samples that the run in RUN_DIR kept, in any format and shape, or for a trainer or the hub."""
    from rt_framework.text import shown

    _check(format_ or shape or dropped, pack, hub_folder, license_)
    if pack is not None:
        from rt_framework.export import export_pack

        done = export_pack(host, run_dir, out, pack, overwrite)
    elif hub_folder:
        from rt_framework.export import export_hub

        done = export_hub(host, run_dir, out, license_, overwrite)
    else:
        from rt_framework.export import export_file

        done = export_file(host, run_dir, out, format_, shape, dropped, overwrite)
    click.echo(shown(done))


def _check(form: object, pack: str | None, hub_folder: bool, license_: str | None) -> None:
    """Check that the options do not contradict each other."""
    if pack is not None and hub_folder:
        raise click.UsageError("--pack and --hub-folder write different folders; call rt export once for each")
    if form and (pack is not None or hub_folder):
        raise click.UsageError("--format, --shape and --dropped cannot be used with --pack or --hub-folder")
    if license_ is not None and not hub_folder:
        raise click.UsageError("--license can only be used with --hub-folder")
