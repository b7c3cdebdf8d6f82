"""What a run leaves for others: clean training columns, and a side file with scores and reasons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from rt_framework.account import KEPT, WAITING, ending
from rt_framework.config import Builder, Config
from rt_framework.errors import DataError
from rt_framework.host import Host
from rt_framework.ledger import Ledger, Story
from rt_framework.manifest import read_config_of
from rt_framework.model import Record
from rt_framework.outlet import Outlet, open_outlet, write_parts
from rt_framework.records import whole
from rt_framework.rundir import SCORES, look
from rt_framework.source import Source, open_source, output_format


def write_outputs(outlet: Outlet, source: Source, run_dir: Path, ledger: Ledger) -> tuple[str, ...]:
    """Write the kept and the dropped samples and the side file; returns their paths.

    Raises:
        DataError: the input has changed, or a plugin has made of a sample what the output cannot hold.
        DiskError: a file cannot be written.
    """
    ledger.check()  # of one that is damaged, outputs that are whole would be replaced by less
    kept, dropped = (run_dir / f"{stem}{outlet.suffix}" for stem in ("kept", "dropped"))
    parts = {kept: results(source, ledger, kept=True), dropped: results(source, ledger, kept=False)}
    write_parts(source, {path: (outlet, records) for path, records in parts.items()})
    write_side_file(run_dir / SCORES, ledger)
    return (str(kept), str(dropped), str(run_dir / SCORES))


def export(
    host: Host,
    run_dir: Path,
    out: Path,
    format_name: str | None = None,
    shape: str | None = None,
    dropped: bool = False,
) -> str:
    """Write what a finished run kept, or what it did not, to *out*; returns what was done in one line.

    Raises:
        DataError: the run is not finished, or its data changed.
        DiskError: *out* cannot be written.
    """
    with finished(host, run_dir) as run:
        name = format_name or output_format(host, out, run.source.format_name)
        source, outlet = open_outlet(Builder(host), run.source, name, shape)
        write_parts(source, {out: (outlet, results(source, run.ledger, kept=not dropped))})
    return f"wrote {out}"


@frozen
class Finished:
    """A run that has come to its end, to be read."""

    config: Config
    source: Source
    ledger: Ledger


@contextmanager
def finished(host: Host, run_dir: Path) -> Iterator[Finished]:
    """The run in *run_dir*, whose ledger is open until the block ends.

    Raises:
        DataError: there is no manifest, or its data is gone.
    """
    config = read_config_of(run_dir)
    source = open_source(host, config.data, config.limits.samples)
    ledger = look(run_dir)
    try:
        yield Finished(config, source, ledger)
    finally:
        ledger.close()


def write_side_file(path: Path, ledger: Ledger) -> None:
    """Write one JSON line a sample, by row, keyed by id: outcome, scores, decisions and failures.

    Raises:
        DiskError: it cannot be written.
    """
    with whole(path) as part, part.open("w", encoding="utf-8") as file:
        for story in ledger.stories():
            file.write(json.dumps(side_line(story), allow_nan=False) + "\n")


def side_line(story: Story) -> dict[str, Any]:
    """One sample's line of the side file."""
    sample = story.sample
    return {
        "id": sample.id,
        "row": sample.row,
        "outcome": story.outcome,
        "kept": sample.kept if story.outcome in KEPT else None,
        "reason": story.reason,
        "scores": {
            version: {name: _score(score) for name, score in sorted(scores.items())}
            for version, scores in sorted(sample.scores.items())
        },
        "decisions": [
            {"stage": d.stage, "candidates": d.candidates, "kept": d.kept, "reason": d.reason} for d in sample.decisions
        ],
        "failures": [{"stage": f.stage, "kind": f.kind, "reason": f.reason} for f in sample.failures],
    }


def _score(score: Any) -> Any:
    """A number, or the status and reason where there is none."""
    return score.value if score.value is not None else {"status": score.status, "reason": score.reason}


def results(source: Source, ledger: Ledger, kept: bool) -> Iterator[Record]:
    """What became of the kept samples, or of all the others, in input order.

    Raises:
        DataError: a sample is not in the ledger, or not at its end.
    """
    for sample, record in source:
        found = ending(ledger, sample.id)
        if found is None:
            raise DataError(
                f"{source.path}: row {sample.row} is not in the ledger; did the file change, "
                "or was the last run a pilot? 'rt run' makes the account of all rows"
            )
        outcome, pair = found
        if outcome == WAITING:
            raise DataError(f"{source.path}: row {sample.row} is not at its end; finish the run first")
        if (outcome in KEPT) is kept:
            yield evolve(record, pair=ledger.pair(pair, sample.id))
