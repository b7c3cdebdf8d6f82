"""The kept or the dropped samples of a finished run as one file, in any format and shape."""

from __future__ import annotations

from pathlib import Path

from rt_framework.config import Builder
from rt_framework.data import Destination, claim, kind_of, output_format, paths_in
from rt_framework.plugin import Host
from rt_framework.results import open_run
from rt_framework.rundir import open_outlet, write_parts

_UNHELD = "which only the input's format and shape hold"


def export_file(
    host: Host,
    run_dir: Path,
    out: Path,
    format_name: str | None = None,
    shape: str | None = None,
    dropped: bool = False,
    overwrite: bool = False,
    record: Path | None = None,
) -> str:
    """Write the kept or the dropped samples of a finished run to *out*; return a line that says what was done.

    Args:
        host: finds the plugins.
        run_dir: the run.
        out: file or folder to write.
        format_name: output format; by default found from the ending of *out*, else that of the input.
        shape: shape of the output columns; that of the input when left out.
        dropped: whether to write the samples that were not kept instead of those that were.
        overwrite: whether an existing file that this program did not write may be replaced.
        record: run directory of the same command, which records that this program wrote the file.

    Raises:
        DataError: the run is not finished, or its data changed.
        ConfigError: *out* is a destination that must not be written.
        DiskError: *out* cannot be written.
    """
    with open_run(run_dir, host) as run:
        make = Builder(host)
        name = format_name or output_format(host, out, run.source.format_name)
        destination = Destination(out, "--out", kind_of(make("formats", name)), record, overwrite)
        claim([destination], run.source.inputs, paths_in(run.config))
        source, outlet = open_outlet(make, run.source, name, shape)
        records = ((True, record) for record in run.ended(kept=not dropped))
        write_parts(source, records, {True: (destination, outlet)})
    lost = dropped and source.faults.count and not outlet.holds_all
    unread = f"; unreadable rows left out, {_UNHELD}: {source.faults.count:,}" if lost else ""
    return f"wrote {out}{unread}"
