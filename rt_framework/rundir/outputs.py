"""What a run leaves for others: clean training columns, and a side file with scores and reasons."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from rt_framework.config import Builder, Config
from rt_framework.data import Destination, Source, claim, kind_of, open_source, output_format, paths_in, whole
from rt_framework.errors import DataError, PluginError
from rt_framework.ledger import KEPT, WAITING, Ledger, Story, ending
from rt_framework.model import Record
from rt_framework.plugin import Host
from rt_framework.protocols import Format
from rt_framework.rundir.directory import PILOT, SCORES, look
from rt_framework.rundir.manifest import manifest_destination, read_config_of
from rt_framework.rundir.outlet import Outlet, open_outlet, write_parts


def claim_outputs(
    config: Config, run_dir: Path, make: Builder, source: Source, watchers: Iterable[object] = (), pilot: bool = False
) -> None:
    """Refuse what a run would write over.

    Args:
        config: the job; whatever its parts read is an input.
        run_dir: the run directory.
        make: builds the output's format.
        source: the data.
        watchers: reporters of this run; those that write files say so in their attribute ``outputs``.
        pilot: whether it is one; its own outputs lie apart, but those of the whole run are to come.

    Raises:
        ConfigError: a destination is taken.
        DiskError: a destination cannot be written.
        PluginError: a reporter says of itself what makes no sense.
    """
    form: Format = make("formats", config.output.format or source.format_name)
    own = [Destination(run_dir, "--run-dir", "run")]
    for folder in (run_dir, run_dir / PILOT) if pilot else (run_dir,):
        own += (*_parts(form, folder), _scores(folder), manifest_destination(folder, "pipeline"))
    appended = [Destination(path, "--reporter", "appended") for watcher in watchers for path in _written_by(watcher)]
    claim([*own, *appended], [source.path], paths_in(config))


def _written_by(watcher: object) -> list[Path]:
    """The files that a reporter says it writes."""
    told = getattr(watcher, "outputs", ())
    try:
        return [Path(one) for one in told]
    except TypeError:
        raise PluginError(
            f"reporter {type(watcher).__name__}: its attribute 'outputs' must be a sequence of paths, not {told!r}"
        ) from None


def _parts(form: Format, folder: Path) -> list[Destination]:
    """The destinations of the kept and of the dropped samples."""
    suffix = form.suffixes[0] if form.suffixes else ""
    return [Destination(folder / f"{stem}{suffix}", "--run-dir", kind_of(form), folder) for stem in ("kept", "dropped")]


def _scores(folder: Path) -> Destination:
    return Destination(folder / SCORES, "--run-dir", record=folder)


def write_outputs(outlet: Outlet, source: Source, run_dir: Path, ledger: Ledger) -> tuple[str, ...]:
    """Write the kept and the dropped samples and the side file; returns their paths.

    Raises:
        DataError: the input has changed, or a plugin has made of a sample what the output cannot hold.
        DiskError: a file cannot be written.
    """
    ledger.check()  # of one that is damaged, outputs that are whole would be replaced by less
    (kept, dropped), scores = _parts(outlet.form, run_dir), _scores(run_dir)
    parts = {kept: results(source, ledger, kept=True), dropped: results(source, ledger, kept=False)}
    write_parts(source, {destination: (outlet, records) for destination, records in parts.items()})
    with whole(scores) as part:
        write_side_file(part, ledger)
    return tuple(str(destination) for destination in (kept, dropped, scores))


def export(
    host: Host,
    run_dir: Path,
    out: Path,
    format_name: str | None = None,
    shape: str | None = None,
    dropped: bool = False,
    overwrite: bool = False,
    record: Path | None = None,
) -> str:
    """Write what a finished run kept, or what it did not, to *out*; returns what was done in one line.

    Args:
        host: finds the plugins.
        run_dir: the run.
        out: file or folder to write.
        format_name: its format; its ending decides when left out, else the input's.
        shape: of its columns; as the input when left out.
        dropped: the samples that were not kept.
        overwrite: whether a file may go that is there and is not ours.
        record: a run directory of the same command, which records that the file is ours.

    Raises:
        DataError: the run is not finished, or its data changed.
        ConfigError: *out* is a destination that must not be written.
        DiskError: *out* cannot be written.
    """
    with finished(host, run_dir) as run:
        make = Builder(host)
        name = format_name or output_format(host, out, run.source.format_name)
        destination = Destination(out, "--out", kind_of(make("formats", name)), record, overwrite)
        claim([destination], [run.source.path], paths_in(run.config))
        source, outlet = open_outlet(make, run.source, name, shape)
        write_parts(source, {destination: (outlet, results(source, run.ledger, kept=not dropped))})
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
        OSError: it cannot be written.
    """
    with path.open("w", encoding="utf-8") as file:
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
