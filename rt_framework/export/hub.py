"""A folder for the Hugging Face hub: what a run kept, controls for the selection, every score, and a data card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from rt_framework.config import Builder
from rt_framework.data import rows_of, whole
from rt_framework.errors import ConfigError, DataError
from rt_framework.export.card import Part, card
from rt_framework.export.pack_data import Readable, replacements
from rt_framework.export.packs import export_folder
from rt_framework.kit.proofs import Proof
from rt_framework.kit.score_table import ScoreTable
from rt_framework.ledger import KEPT
from rt_framework.model import Record, Score, Scored, Version
from rt_framework.plugin import Host
from rt_framework.protocols import DatasetSelector, Format
from rt_framework.results import FinishedRun, open_run
from rt_framework.rundir import SCORES, write_side_file

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
    form: Format = make("formats", "jsonl")
    with open_run(run_dir, host) as run, whole(export_folder(run, out, overwrite)) as folder:
        (folder / "data").mkdir(parents=True)
        parts, notes = _write_parts(make, form, folder, run)
        write_side_file(folder / SCORES, run, run.source.unread())
        proof, ignored = _proof(run)
        (folder / "README.md").write_text(card(run, license_, parts, proof), "utf-8")
    names = ", ".join(f"{part.name} {part.samples}" for part in parts)
    upload = f"hf upload NAME/DATASET {quote(str(out))} . --repo-type dataset"
    return f"wrote {out}: {names}{notes}{ignored}\nnext: read its README.md, then: {upload}"


def _proof(run: FinishedRun) -> tuple[Proof | None, str]:
    """Return the proof of the run, if it has one, and a note if one was ignored."""
    try:
        return run.proof, ""
    except DataError as error:
        return None, f"; the proof is ignored: {error}"


def _licensed(license_id: str | None) -> str:
    if license_id is None:
        raise ConfigError(
            "--hub-folder needs --license ID, such as cc-by-4.0, or other: only you know under what licence the data "
            "came, and whether the teacher's terms let its text be passed on"
        )
    if not _LICENSE.fullmatch(license_id):
        raise ConfigError(f"--license {license_id!r}: the hub writes licences in small letters, such as cc-by-4.0")
    return license_id


def _write_parts(make: Builder, form: Format, folder: Path, run: FinishedRun) -> tuple[list[Part], str]:
    """Write the kept samples and, if some were not kept, the controls; return them and a note on what was changed."""
    replaced = 0

    def write(name: str, about: str, records: Iterable[Record]) -> Part:
        nonlocal replaced
        rows = Readable(rows_of(run.source.shape, run.source.columns, records))
        path = f"data/{name}.jsonl"
        form.write(folder / path, rows)
        replaced += rows.counts["replaced"]
        return Part(name, path, about, rows.counts["rows"])

    parts = [write("kept", "the samples that the run kept, in the kept version", run.records(kept=True))]
    pool, kept = _pool(run)
    if 0 < sum(kept) < len(kept):
        for name, (selector, options, about) in _CONTROLS.items():
            control: DatasetSelector = make("selectors", selector, {**options, "count": sum(kept)})
            chosen = bytearray(verdict.keep for verdict in control.select(pool))
            parts.append(write(name, f"control: {about}; original texts", _taken(run, chosen)))
    return parts, replacements(replaced)


def _pool(run: FinishedRun) -> tuple[Sequence[Scored], bytearray]:
    """Return all samples of a run as a selector sees them, and whether each was kept, which is their only score."""
    table, kept = ScoreTable(["kept"]), bytearray()
    for sample_id, outcome, *_ in run.outcomes():
        table.append(sample_id, {"kept": Score(float(outcome in KEPT))})
        kept.append(outcome in KEPT)

    def version(place: int) -> Version:
        sample = run.sample(rows[place].sample_id).sample
        # A control is the data as it came in; only a kept sample is measured in its kept version, to match its length.
        return sample.current if kept[place] else sample.original

    rows = table.rows(range(len(table)), version)
    return rows, kept


def _taken(run: FinishedRun, chosen: Sequence[int]) -> Iterator[Record]:
    """Return the chosen samples as they were read."""
    return (record for take, (_, record) in zip(chosen, run.source, strict=True) if take)
