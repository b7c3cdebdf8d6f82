"""Packs: the samples of a run or of any data set, or a student's preferences, in the form that a trainer reads.

A pack is named data, not code. All packs hold conversations, so that the trainer puts the chat template of its own
model around the texts. A pack has only the trainer's columns: a column of the input with values of several types
would stop the trainer's loader. Packs for fine-tuning train exactly those turns that a score counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from shlex import quote

from rt_framework.config import Builder
from rt_framework.data import Destination, Source, claim, paths_in, whole
from rt_framework.errors import ConfigError
from rt_framework.export.pack_data import PackData, Readable, replacements
from rt_framework.export.pack_kinds import DATA, PACKS, Pack, find_pack
from rt_framework.export.preferences import Preferences
from rt_framework.model import Pair
from rt_framework.plugin import Host
from rt_framework.protocols import Format
from rt_framework.results import FinishedRun, open_run
from rt_framework.text import number_of

__all__ = ["PACKS", "export_data_pack", "export_folder", "export_pack", "samples"]


def samples(name: str, pairs: Callable[[], Iterable[Pair]]) -> tuple[Pack, PackData]:
    """Return the pack called *name* in the form that trains exactly the trained turns of samples, with its rows.

    Args:
        name: name of the pack.
        pairs: reads all samples once.

    Raises:
        ConfigError: the pack is unknown, or one of preferences, which are no samples.
    """
    pack = find_pack(name)
    if pack.rows is None:
        raise ConfigError(f"pack '{name}' holds the preferences of a run, not samples")
    form = pack.form(pairs)
    assert form.rows is not None
    return form, PackData(form.rows, pairs)


def export_folder(run: FinishedRun, out: Path, overwrite: bool) -> Destination:
    """Claim and return the destination of a folder that is exported from a run.

    Raises:
        ConfigError: something is there that an export did not write, or that was changed since.
    """
    return _claimed(run.source, out, overwrite, paths_in(run.config))


def _claimed(source: Source, out: Path, overwrite: bool, read: Iterable[Path] = ()) -> Destination:
    destination = Destination(out, "--out", "folder", overwrite=overwrite)
    claim([destination], source.inputs, read)
    return destination


def export_pack(host: Host, run_dir: Path, out: Path, name: str, overwrite: bool = False) -> str:
    """Write the pack called *name* of a finished run to the folder *out*; return what was done and what to do next.

    Raises:
        ConfigError: the pack is unknown, or *out* must not be replaced.
        DataError: the run is not finished, its data changed, or the pack cannot train its turns.
        DiskError: *out* cannot be written.
    """
    pack = find_pack(name)
    with open_run(run_dir, host) as run:
        destination = export_folder(run, out, overwrite)
        if pack.preference is None:
            form, data = samples(name, lambda: (record.pair for record in run.records(kept=True)))
            return _written(host, form, destination, data)
        pairs = Preferences(run)
        return _written(host, pack, destination, PackData(pack.preference, lambda: pairs), pairs)


def export_data_pack(host: Host, source: Source, out: Path, name: str, overwrite: bool = False) -> str:
    """Write the pack called *name* of any data set to the folder *out*; return what was done and what to do next.

    Raises:
        ConfigError: the pack is unknown or one of preferences, which only a run has; or *out* must not be replaced.
        DataError: the data cannot be read, changed while it was read, or the pack cannot train its turns.
        DiskError: *out* cannot be written.
    """
    if find_pack(name).preference is not None:
        raise ConfigError(f"pack '{name}' holds the preferences of a run, and {source.name} is a data file")
    destination = _claimed(source, out, overwrite)
    source, _ = source.read_through(lambda _: None)

    def pairs() -> Iterator[Pair]:
        yield from (record.pair for _, record in source)
        source.check_unchanged()

    form, data = samples(name, pairs)
    return _written(host, form, destination, data, note=source.left_out)


def _written(
    host: Host,
    pack: Pack,
    destination: Destination,
    data: PackData,
    pairs: Preferences | None = None,
    note: str = "",
) -> str:
    """Write the folder of a pack, and return what was done, with a note on the data, and what to do next."""
    out, rows = destination.path, Readable(data)
    form: Format = Builder(host)("formats", "jsonl")
    with whole(destination) as part:
        part.mkdir()
        form.write(part / DATA, rows)
        next_ = pack.usage.format(folder=quote(str(out)))
        for file, text in {**pack.files(bool(data.counts["tools"])), "README.md": _readme(pack, next_)}.items():
            (part / file).write_text(text, "utf-8", "replace")
    count = rows.counts["rows"]
    what = number_of(data.counts["used"], "sample") if pairs is None else number_of(count, "preference pair")
    what += f" in {number_of(count, 'row')}" if pairs is None and count != data.counts["used"] else ""
    notes = replacements(rows.counts["replaced"]) + _left_out(data, pairs) + (f"; {note}" if note else "")
    return f"wrote {out}: {what}{notes}\n" + (f"next: {next_}" if count else "the pack has no samples to train on")


def _left_out(data: PackData, pairs: Preferences | None) -> str:
    """Return a note for the user on all that a pack does not hold."""
    left_out = data.left_out + (Counter() if pairs is None else pairs.left_out)
    reasons = ", ".join(f"{count} {why}" for why, count in sorted(left_out.items()))
    shortened = data.counts["shortened"]
    return (f"; {'samples' if pairs is None else 'comparisons'} left out: {reasons}" if reasons else "") + (
        f"; turns after the last trained answer left out of {number_of(shortened, 'sample')}" if shortened else ""
    )


def _readme(pack: Pack, usage: str) -> str:
    return f"# Pack {pack.name}, written by rt-framework\n\n{pack.note}\n\nNext:\n\n    {usage}\n"
