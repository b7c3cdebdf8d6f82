"""Selection of samples by scores that were computed before, from files to files and without a model."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property, partial
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import cattrs
from attrs import asdict, frozen

from rt_framework.config import Builder
from rt_framework.data import Destination, HashSet64, Source, claim, kind_of, output_format, paths_in
from rt_framework.errors import ConfigError, DataError, PluginError, RtError
from rt_framework.kit.compact import CompactStrings, LazySequence, ScoreColumn
from rt_framework.kit.parts import Spec
from rt_framework.model import ORIGINAL, Pair, Record, Score, Scored, Version
from rt_framework.plugin import Host
from rt_framework.protocols import DatasetSelector, Metric
from rt_framework.rundir import open_outlet, read_manifest, write_parts
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
    parts: dict[Destination, tuple[str, bool]] = {}
    for option, path, wanted in (("--out", out, True), ("--dropped", dropped, False)):
        if path is not None:
            form = output_format(host, path, source.format_name)
            kind = kind_of(make("formats", form))
            parts[Destination(path, option, kind, None, overwrite)] = form, wanted
    claim(parts, [source.path], [scores, *paths_in(by)])
    selector: DatasetSelector = make.spec("selectors", by)
    if not hasattr(selector, "select"):
        raise ConfigError(f"selector '{by.name}' chooses between versions of a sample, not between samples")
    metrics = {name: make("metrics", name) for name in selector.needs}
    lines = _Lines(scores, metrics)
    outlets = {}
    for destination, (form, _) in parts.items():
        source, outlets[destination] = open_outlet(make, source, form)
    with source.steady(), ExitStack() as stack:
        rows = _Rows(source, lines, stack)
        kept = bytearray(verdict.keep for verdict in selector.select(LazySequence(len(rows.numbers), rows.row)))
        if len(kept) != len(rows.numbers):
            raise PluginError(f"selector '{by.name}' decided on {len(kept)} of {len(rows.numbers)} samples")
        taken = {to: (outlets[to], _taken(source, kept, wanted)) for to, (_, wanted) in parts.items()}
        write_parts(source, taken)
    return f"{out}: {sum(kept)} of {len(kept)} samples{lines.note}"


def _taken(source: Source, kept: bytearray, wanted: bool) -> Iterator[Record]:
    return (record for keep, (_, record) in zip(kept, source, strict=True) if keep == wanted)


# --- scores -----------------------------------------------------------------------------------


@frozen
class ScoreLine:
    """One line of a file that ``rt score`` wrote."""

    number: int
    """Line number, from 1."""
    id: str
    status: str
    metrics: Mapping[str, float | None]


def score_lines(path: Path) -> Iterator[ScoreLine]:
    """Yield the lines of a file that ``rt score`` wrote, one at a time.

    Raises:
        DataError: the file does not exist, a line has another form, or two lines are about one sample; names the line.
    """
    seen = HashSet64()
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                line = _line(path, number, text)
                if not seen.add(int.from_bytes(blake2b(line.id.encode("utf-8", "replace"), digest_size=8).digest())):
                    raise DataError(
                        f"{path}: line {number}: sample {line.id} has a line already; remove one of them, or score "
                        "the data again with 'rt score'"
                    )
                yield line
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; 'rt score' writes it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _line(path: Path, number: int, text: str) -> ScoreLine:
    try:
        line = json.loads(text, parse_constant=float)
        found = ScoreLine(number, line["id"], line["status"], line["metrics"])
        values = found.metrics.values()
        numbers = all(value is None or (type(value) in (int, float) and -1e308 < value < 1e308) for value in values)
        if not (isinstance(found.id, str) and isinstance(found.status, str) and numbers):
            raise TypeError("id and status are texts, and the value of a metric is a finite number or null")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: line {number}: not a line of 'rt score': {error}") from error
    return found


def read_scores(path: Path) -> dict[str, dict[str, Any]]:
    """Return the ``status`` and the value of each metric by sample id, all in memory.

    Raises:
        DataError: as :func:`score_lines`.
    """
    return {line.id: {"status": line.status, **line.metrics} for line in score_lines(path)}


def _range_binds(scores: Path) -> bool | None:
    """Return whether values outside a metric's range lose, by the scores' preset; ``None`` if the preset is unknown."""
    try:
        found = PRESETS.get(read_manifest(scores.with_name(f"{scores.name}.rt"))["frozen"]["scoring"]["preset"])
    except (RtError, KeyError, TypeError):
        return None
    return None if found is None else found.range_binds


class _Lines:
    """The scores of a file, held in a few bytes each and found by sample id."""

    def __init__(self, path: Path, metrics: Mapping[str, Metric]) -> None:
        self._path = path
        self._metrics = metrics
        binds = _range_binds(path)
        self._binds = binds is not False
        self._outside = 0
        self._ids = CompactStrings()
        self._scores = {name: ScoreColumn() for name in metrics}
        for line in score_lines(path):
            self._ids.append(line.id)
            for name, column in self._scores.items():
                column.append(*self._score(line, name))
        guessed = binds is None and self._outside
        self.note = (
            f"; {self._outside} values outside their metric's range cannot win: {path}.rt, which tells the preset that "
            "they were scored with, cannot be read"
            if guessed
            else ""
        )
        """Remark for the user on how the scores were read; empty if there is none."""

    def _score(self, line: ScoreLine, name: str) -> tuple[float | None, str, str | None]:
        if name not in line.metrics:
            way_out = f"run 'rt score' with --metric {name}"
            raise DataError(f"{self._path}: no metric '{name}' here; {way_out}; line {line.number} has none")
        value, valid = line.metrics[name], self._metrics[name].valid
        if value is None:
            return None, line.status, f"{name} has no value"
        if value in valid:
            return value, "ok", None
        self._outside += 1
        return (value, "out_of_range", f"not {valid}") if self._binds else (value, "ok", None)

    def find(self, id_: str, guess: int) -> int:
        """Return the position of a sample's scores; that is *guess* if the file is in the order of the data.

        Raises:
            DataError: the sample has no scores.
        """
        if guess < len(self._ids) and self._ids[guess] == id_:
            return guess
        order = self._order
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._ids[order[middle]] < id_ else (low, middle)
        if low == len(order) or self._ids[order[low]] != id_:
            raise DataError(f"{self._path}: no scores of sample {id_}; score the same data again with 'rt score'")
        return order[low]

    @cached_property
    def _order(self) -> array[int]:
        """Positions of the lines, sorted by sample id."""
        return array("Q", sorted(range(len(self._ids)), key=self._ids.__getitem__))

    def scores(self, at: int) -> dict[str, Score]:
        """Return the scores at a position, by metric."""
        return {name: Score(*column[at]) for name, column in self._scores.items()}


# --- rows -------------------------------------------------------------------------------------


class _Rows:
    """The samples as a selector sees them; their texts are read only on demand."""

    def __init__(self, source: Source, lines: _Lines, stack: ExitStack) -> None:
        self._source = source
        self._lines = lines
        self._stack = stack
        self._ids = CompactStrings()
        self.numbers = array("Q")
        self._places = array("Q")
        for at, sample in enumerate(source.samples()):
            self._ids.append(sample.id)
            self.numbers.append(sample.row)
            self._places.append(lines.find(sample.id, at))

    def row(self, at: int) -> Scored:
        """Return the row at a position; its text is read when the selector asks for it."""
        scores = self._lines.scores(self._places[at])
        return Scored(self._ids[at], self.numbers[at], partial(self._version, at), scores)

    def _version(self, at: int) -> Version:
        return Version(ORIGINAL, self._texts.pair(at))

    @cached_property
    def _texts(self) -> _Texts:
        return _Texts(self._source, self._stack.enter_context(tempfile.TemporaryFile()))


class _Texts:
    """The texts of all samples in a file: a selector takes them in any order, but data can only be read in its own."""

    def __init__(self, source: Source, file: IO[bytes]) -> None:
        self._file = file
        self._ends = array("Q", [0])
        for sample in source.samples():
            self._ends.append(self._ends[-1] + file.write(json.dumps(asdict(sample.original.pair)).encode()))

    def pair(self, at: int) -> Pair:
        """Return the pair at a position."""
        self._file.seek(self._ends[at])
        return cattrs.structure(json.loads(self._file.read(self._ends[at + 1] - self._ends[at])), Pair)
