"""Outputs of a run: data files with clean training columns, and a side file with scores and reasons."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from heapq import merge
from pathlib import Path
from typing import Any

from attrs import evolve

from rt_framework.config import Builder, Config
from rt_framework.data import Destination, Faults, Source, Tally, Unread, claim, kind_of, paths_in, whole
from rt_framework.errors import DataError, PluginError
from rt_framework.ledger import KEPT, WAITING, Ledger, SampleHistory
from rt_framework.model import Record
from rt_framework.protocols import Format
from rt_framework.rundir.directory import PILOT, SCORES
from rt_framework.rundir.manifest import manifest_destination
from rt_framework.rundir.outlet import Outlet, write_parts

_ENCODER = json.JSONEncoder(allow_nan=False)


def claim_outputs(
    config: Config, run_dir: Path, make: Builder, source: Source, watchers: Iterable[object] = (), pilot: bool = False
) -> None:
    """Refuse a run that would overwrite files that are not its own.

    Args:
        config: the job; all files that its plugins read count as inputs.
        run_dir: the run directory.
        make: builds the output's format.
        source: the data.
        watchers: reporters of this run; a reporter that writes files lists them in its attribute ``outputs``.
        pilot: whether this is a pilot; its outputs go to a folder of their own, and those of the whole run come later.

    Raises:
        ConfigError: a destination is taken.
        DiskError: a destination cannot be written.
        PluginError: the attribute ``outputs`` of a reporter is no sequence of paths.
    """
    form: Format = make("formats", config.output.format or source.format_name)
    own = [Destination(run_dir, "--run-dir", "run")]
    for folder in (run_dir, run_dir / PILOT) if pilot else (run_dir,):
        own += (*_parts(form, folder), _scores(folder), manifest_destination(folder, "pipeline"))
    appended = [Destination(path, "--reporter", "appended") for watcher in watchers for path in _written_by(watcher)]
    claim([*own, *appended], source.inputs, paths_in(config))


def _written_by(watcher: object) -> list[Path]:
    """Return the files that a reporter lists in its attribute ``outputs``."""
    told = getattr(watcher, "outputs", ())
    try:
        return [Path(one) for one in told]
    except TypeError:
        raise PluginError(
            f"reporter {type(watcher).__name__}: its attribute 'outputs' must be a sequence of paths, not {told!r}"
        ) from None


def _parts(form: Format, folder: Path) -> list[Destination]:
    """Return the destinations of the kept and of the dropped samples."""
    suffix = form.suffixes[0] if form.suffixes else ""
    return [Destination(folder / f"{stem}{suffix}", "--run-dir", kind_of(form), folder) for stem in ("kept", "dropped")]


def _scores(folder: Path) -> Destination:
    return Destination(folder / SCORES, "--run-dir", record=folder)


def write_outputs(outlet: Outlet, source: Source, run_dir: Path, ledger: Ledger) -> tuple[tuple[str, ...], Faults]:
    """Write the kept samples, the dropped samples and the side file.

    Returns:
        the paths of the files, and the faults of the rows that were left out because they cannot be read.

    Raises:
        DataError: the input has changed, or a plugin has changed a sample so that the output format cannot hold it.
        DiskError: a file cannot be written.
    """
    ledger.check()  # a damaged ledger must not replace complete outputs by incomplete ones
    (kept, dropped), scores = _parts(outlet.form, run_dir), _scores(run_dir)
    write_parts(source, endings(source, ledger), {True: (kept, outlet), False: (dropped, outlet)})
    tally = Tally()
    with source.steady(), whole(scores) as part:
        write_side_file(part, ledger.samples.histories(), tally.counting(source.unread()))
    return tuple(str(destination) for destination in (kept, dropped, scores)), tally.faults()


def write_side_file(path: Path, histories: Iterable[SampleHistory], unread: Iterable[Unread]) -> None:
    """Write one JSON line per sample, in row order and with its id: outcome, scores, decisions and failures.

    Args:
        path: the file.
        histories: the samples, in row order.
        unread: the rows that cannot be read, in order. Each has a line too, with its reason and without an id.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("w", encoding="utf-8") as file:
        for line in merge(map(side_line, histories), map(_unread_line, unread), key=lambda line: int(line["row"])):
            file.write(_ENCODER.encode(line) + "\n")


def side_line(history: SampleHistory) -> dict[str, Any]:
    """Return the line of one sample in the side file."""
    sample = history.sample
    line = {
        "id": sample.id,
        "row": sample.row,
        "outcome": history.outcome,
        "kept": sample.kept if history.is_kept else None,
        "reason": history.reason,
        "scores": {
            version: {name: _score(score) for name, score in sorted(scores.items())}
            for version, scores in sorted(sample.scores.items())
        },
        "decisions": [
            {"stage": d.stage, "candidates": d.candidates, "kept": d.kept, "reason": d.reason} for d in sample.decisions
        ],
        "failures": [{"stage": f.stage, "kind": f.kind, "reason": f.reason} for f in sample.failures],
    }
    handed = [
        {"version": version, "teacher": one.teacher, "fallback": one.fallback, "kind": one.kind, "reason": one.reason}
        for version, handovers in history.handovers.items()
        for one in handovers
    ]
    return line | ({"handovers": handed} if handed else {})


def _unread_line(unread: Unread) -> dict[str, Any]:
    """Return the line of a row that cannot be read, in the side file."""
    none: dict[str, Any] = {"scores": {}, "decisions": [], "failures": []}
    ending = {"outcome": "dropped", "kept": None, "reason": unread.reason}
    return {"id": None, "row": unread.number, **ending, **none}


def unread_reason(run_dir: Path, row: int) -> str | None:
    """Return why a row of the last run was left out as unreadable, from the side file.

    ``None`` if it was not, or if the run has not ended yet.
    """
    scores = run_dir / SCORES
    if not scores.is_file():
        return None
    with scores.open(encoding="utf-8") as file:
        # Only the lines of such rows are parsed, since all others hold scores.
        lines = (json.loads(line) for line in file if line.startswith('{"id": null'))
        return next((str(line["reason"]) for line in lines if line["row"] == row), None)


def _score(score: Any) -> Any:
    """Return the number of a score, or its status and reason if it has no number."""
    return score.value if score.value is not None else {"status": score.status, "reason": score.reason}


def endings(source: Source, ledger: Ledger) -> Iterator[tuple[bool, Record | Unread]]:
    """Yield the final record of each sample, in input order, with whether the sample was kept.

    The rows that are left out because they cannot be read come as rows that were not kept.

    Raises:
        DataError: a sample is not in the ledger, or not finished.
    """
    for entry in source.entries():
        if isinstance(entry, Unread):
            yield False, entry
            continue
        sample, record = entry
        ending = ledger.samples.ending(sample.id)
        if ending is None:
            raise DataError(
                f"{source.name}: row {sample.row} is not in the ledger; did the file change, "
                "or was the last run a pilot? 'rt run' makes the account of all rows"
            )
        outcome, pair = ending
        if outcome == WAITING:
            raise DataError(f"{source.name}: row {sample.row} is not at its end; finish the run first")
        yield outcome in KEPT, evolve(record, pair=ledger.samples.pair(pair, sample.id))
