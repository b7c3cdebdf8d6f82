"""A folder for the Hugging Face hub: what a run kept, controls for the selection, every score, and a data card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from attrs import frozen

from rt_framework.config import Builder
from rt_framework.data import rows_of, whole
from rt_framework.errors import ConfigError
from rt_framework.export.card import Part, card
from rt_framework.export.packs import Readable, export_folder, replacements
from rt_framework.kit.compact import CompactStrings, LazySequence
from rt_framework.ledger import KEPT, Ledger
from rt_framework.model import Record, Score, Scored, Version
from rt_framework.plugin import Host
from rt_framework.protocols import DatasetSelector, Format
from rt_framework.rundir import SCORES, Finished, finished, read_manifest, results, write_side_file

_CONTROLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "random-control": ("random", {}, "the same number of samples, drawn at random from all"),
    "length-control": (
        "length-matched",
        {"metric": "kept"},
        "as many samples with responses of the same lengths, taken first from the samples that were not kept",
    ),
}
"""Selector, its options and a description of what it draws, by part of the data set."""

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")


def export_hub(host: Host, run_dir: Path, out: Path, license_id: str | None, overwrite: bool = False) -> str:
    """Write the folder *out*; return what was done and what to do next.

    Args:
        license_id: the licence as the hub writes it, such as ``cc-by-4.0``; ``other`` for one unknown to the hub.
        overwrite: whether a folder that an export wrote may be replaced although it was changed since.

    Raises:
        ConfigError: there is no licence, or *out* must not be replaced.
        DataError: the run is not finished, or its data changed.
        DiskError: *out* cannot be written.
    """
    license_ = _licensed(license_id)
    make = Builder(host)
    manifest = read_manifest(run_dir)
    form: Format = make("formats", "jsonl")
    with finished(host, run_dir) as run, whole(export_folder(run, out, overwrite)) as folder:
        (folder / "data").mkdir(parents=True)
        parts, notes = _write_parts(make, form, folder, run)
        write_side_file(folder / SCORES, run.ledger)
        (folder / "README.md").write_text(card(manifest, license_, run.source.shape, parts), "utf-8")
    names = ", ".join(f"{part.name} {part.samples}" for part in parts)
    upload = f"hf upload NAME/DATASET {quote(str(out))} . --repo-type dataset"
    return f"wrote {out}: {names}{notes}\nnext: read its README.md, then: {upload}"


def _licensed(license_id: str | None) -> str:
    if license_id is None:
        raise ConfigError(
            "--hub-folder needs --license ID, such as cc-by-4.0, or other: only you know under what licence the data "
            "came, and whether the teacher's terms let its text be passed on"
        )
    if not _LICENSE.fullmatch(license_id):
        raise ConfigError(f"--license {license_id!r}: the hub writes licences in small letters, such as cc-by-4.0")
    return license_id


def _write_parts(make: Builder, form: Format, folder: Path, run: Finished) -> tuple[list[Part], str]:
    """Write the kept samples and, if some were not kept, the controls; return them and a note on what was changed."""
    replaced = 0

    def write(name: str, about: str, records: Iterable[Record]) -> Part:
        nonlocal replaced
        rows = Readable(rows_of(run.source.shape, run.source.columns, records))
        path = f"data/{name}.jsonl"
        form.write(folder / path, rows)
        replaced += rows.counts["replaced"]
        return Part(name, path, about, rows.counts["rows"])

    kept = results(run.source, run.ledger, kept=True)
    parts = [write("kept", "the samples that the run kept, in the kept version", kept)]
    pool = _Pool.of(run.ledger)
    if 0 < sum(pool.kept) < len(pool.kept):
        for name, (selector, options, about) in _CONTROLS.items():
            chosen = pool.drawn(make("selectors", selector, {**options, "count": sum(pool.kept)}))
            parts.append(write(name, f"control: {about}; original texts", _taken(run, chosen)))
    return parts, replacements(replaced)


def _taken(run: Finished, chosen: Sequence[int]) -> Iterator[Record]:
    """Return the chosen samples as they were read."""
    return (record for take, (_, record) in zip(chosen, run.source, strict=True) if take)


@frozen
class _Pool:
    """All samples of a run as a selector sees them, each marked as kept or not."""

    ledger: Ledger
    ids: CompactStrings
    kept: bytearray

    @classmethod
    def of(cls, ledger: Ledger) -> _Pool:
        ids, kept = CompactStrings(), bytearray()
        for sample_id, outcome, *_ in ledger.samples.outcomes():
            ids.append(sample_id)
            kept.append(outcome in KEPT)
        return cls(ledger, ids, kept)

    def drawn(self, selector: DatasetSelector) -> bytearray:
        """Return 1 for each sample that a control takes, else 0. The selector's metric is whether a sample was kept."""
        rows = LazySequence(len(self.ids), self._row)
        return bytearray(verdict.keep for verdict in selector.select(rows))

    def _row(self, position: int) -> Scored:
        return Scored(
            self.ids[position], position, lambda: self._version(position), {"kept": Score(float(self.kept[position]))}
        )

    def _version(self, position: int) -> Version:
        history = self.ledger.samples.history(self.ids[position])
        assert history is not None
        # A control is the data as it came in; only a kept sample is measured in its kept version, to match its length.
        return history.sample.current if self.kept[position] else history.sample.original
