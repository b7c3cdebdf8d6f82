"""Selection of samples by scores that were computed before, from files to files and without a model."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rt_framework.config import Builder
from rt_framework.data import Destination, Source, Spool, claim, kind_of, output_format, paths_in
from rt_framework.errors import ConfigError, DataError, PluginError, RtError, described
from rt_framework.jobs.score_file import ScoreLine, score_lines
from rt_framework.kit.parts import Spec
from rt_framework.kit.score_table import ScoreTable
from rt_framework.model import ORIGINAL, Pair, Score, Scored, Version
from rt_framework.plugin import Host
from rt_framework.protocols import ColumnReader, DatasetSelector, Format, Metric, VectorReader
from rt_framework.rundir import Outlet, open_outlet, read_manifest, write_parts
from rt_framework.scoring import PRESETS


def select_file(
    host: Host,
    source: Source,
    scores: Path,
    by: Spec,
    out: Path,
    dropped: Path | None,
    overwrite: bool = False,
) -> str:
    """Write the selected samples, and the others if asked to; return a line that says what was done.

    Ids and scores of all samples stay in memory; a selector that asks for texts gets them from a temporary file.

    Raises:
        DataError: the score line of a sample is broken, duplicate or missing; a sample cannot be written.
        ConfigError: the selector does not choose between samples, or a destination must not be written.
    """
    make = Builder(host)
    formats: dict[bool, str] = {}
    destinations: dict[bool, Destination] = {}
    for option, path, wanted in (("--out", out, True), ("--dropped", dropped, False)):
        if path is not None:
            formats[wanted] = output_format(host, path, source.format_name)
            form: Format = make("formats", formats[wanted])
            destinations[wanted] = Destination(path, option, kind_of(form), None, overwrite)
    claim(destinations.values(), source.inputs, [scores, *paths_in(by)])
    selector = _selector(make, by)
    reader = _ScoreReader(scores, {name: make("metrics", name.partition("@")[0]) for name in selector.needs})
    table = reader.table()
    outlets: dict[str, Outlet] = {}
    for name in formats.values():
        if name not in outlets:
            source, outlets[name] = open_outlet(make, source, name)
    columns = tuple(selector.columns) if isinstance(selector, ColumnReader) else ()
    with source.steady(), Spool[Pair]() as texts, Spool[dict[str, Any]]() as extras:
        rows = _rows(source, table, scores, texts, columns, extras)
        kept = _decided(by.name, selector, rows)
    marked = ((bool(keep), record) for keep, (_, record) in zip(kept, source, strict=True))
    write_parts(source, marked, {wanted: (to, outlets[formats[wanted]]) for wanted, to in destinations.items()})
    return f"{out}: {sum(kept)} of {len(kept)} samples{reader.note}"


def _selector(make: Builder, by: Spec) -> DatasetSelector:
    """Build a selector that chooses between samples by their scores and texts.

    Raises:
        PluginError: it is unknown or broken.
        ConfigError: it does not choose between samples, or reads vectors of a student.
    """
    selector: DatasetSelector = make.spec("selectors", by)
    if not hasattr(selector, "select"):
        raise ConfigError(f"selector '{by.name}' chooses between versions of a sample, not between samples")
    if isinstance(selector, VectorReader) and selector.embeds is not None:
        raise ConfigError(
            f"selector '{by.name}' reads vectors of a student, and this command has no student: use it in 'rt run', in "
            "a stage 'select'"
        )
    return selector


def _decided(name: str, selector: DatasetSelector, rows: Sequence[Scored]) -> bytearray:
    """Return whether the selector keeps each row.

    Raises:
        PluginError: the selector raised an exception, or did not decide on every row.
    """
    try:
        kept = bytearray(verdict.keep for verdict in selector.select(rows))
    except RtError:
        raise
    except Exception as error:
        raise PluginError(f"selector '{name}' failed: {described(error)}") from error
    if len(kept) != len(rows):
        raise PluginError(f"selector '{name}' decided on {len(kept)} of {len(rows)} samples")
    return kept


def _rows(
    source: Source,
    table: ScoreTable,
    scores: Path,
    texts: Spool[Pair],
    columns: Sequence[str],
    extras: Spool[dict[str, Any]],
) -> Sequence[Scored]:
    """Return the rows that a selector takes, in the order of the source.

    *texts* is filled when the selector asks for a text, *extras* at once with the *columns* that it reads.
    """
    numbers, positions = array("Q"), array("Q")
    for place, (sample, record) in enumerate(source):
        missing = next((name for name in columns if name not in record.extra), None)
        if missing is not None:
            raise DataError(f"{source.name}: row {sample.row} (from 0) lacks the column '{missing}' of the selector")
        if columns:
            extras.append({name: record.extra[name] for name in columns})
        position = table.position(sample.id, guess=place)
        if position is None:
            raise DataError(f"{scores}: no scores of sample {sample.id}; score the same data again with 'rt score'")
        numbers.append(sample.row)
        positions.append(position)

    def version(place: int) -> Version:
        # A selector takes texts in any order, but data can only be read in its own: all of them go to a file first.
        if not len(texts):
            for sample in source.samples():
                texts.append(sample.original.pair)
        return Version(ORIGINAL, texts[place])

    return table.rows(numbers, version, positions, extras.__getitem__ if columns else None)


def _range_binds(scores: Path) -> bool | None:
    """Return whether values outside a metric's range lose, by the scores' preset; ``None`` if the preset is unknown."""
    try:
        found = PRESETS.get(read_manifest(scores.with_name(f"{scores.name}.rt"))["frozen"]["scoring"]["preset"])
    except (RtError, KeyError, TypeError):
        return None
    return None if found is None else found.range_binds


class _ScoreReader:
    """Reader of a file of scores, by the rules of the preset that they were made with."""

    def __init__(self, path: Path, metrics: Mapping[str, Metric]) -> None:
        self._path = path
        self._metrics = metrics
        self._binds = _range_binds(path)
        self._outside = 0

    def table(self) -> ScoreTable:
        """Read all scores.

        Raises:
            DataError: a line is broken, or lacks a metric.
        """
        table = ScoreTable(list(self._metrics))
        for line in score_lines(self._path):
            table.append(line.id, {name: self._score(line, name) for name in self._metrics})
        return table

    @property
    def note(self) -> str:
        """Remark for the user on how the scores were read; empty if there is none."""
        if self._binds is not None or not self._outside:
            return ""
        return (
            f"; {self._outside} values outside their metric's range cannot win: {self._path}.rt, which tells the "
            "preset that they were scored with, cannot be read"
        )

    def _score(self, line: ScoreLine, name: str) -> Score:
        if name not in line.metrics:
            way_out = f"run 'rt score' with --metric {name}"
            raise DataError(f"{self._path}: no metric '{name}' here; {way_out}; line {line.number} has none")
        value, valid = line.metrics[name], self._metrics[name].valid
        if value is None:
            return Score(None, line.status, f"{name} has no value")
        if value in valid:
            return Score(value)
        self._outside += 1
        return Score(value) if self._binds is False else Score(value, "out_of_range", f"not {valid}")
