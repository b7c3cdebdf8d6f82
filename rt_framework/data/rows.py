"""Conversion of files to samples and back: sample ids, detection, reading, and writing that is all or nothing."""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from attrs import evolve

from rt_framework.config import Shard, TurnRules
from rt_framework.data.destinations import Destination
from rt_framework.data.replacing import whole
from rt_framework.data.shapes import ColumnShape, column_names, detect_shape, find_shape, to_record, to_row
from rt_framework.data.unread import Unread
from rt_framework.data.values import Names, RawRow
from rt_framework.errors import DataError, described
from rt_framework.model import ORIGINAL, Pair, Record, Sample, Version
from rt_framework.protocols import Format
from rt_framework.text import shown, without_secrets

T = TypeVar("T")

_log = logging.getLogger("rt_framework")

_LAST_TURN = TurnRules()

# --- ids --------------------------------------------------------------------------------------


class HashSet64:
    """A set of 64-bit hashes with open addressing: 16 to 32 bytes a member, where a Python set takes about 90."""

    def __init__(self) -> None:
        self._slots = array("Q", [0]) * 1024
        self._used = 0

    def add(self, number: int) -> bool:
        """Add *number*, and return whether it is new."""
        number = number or 1  # 0 marks a free slot
        slot = self._slot(number)
        if self._slots[slot] == number:
            return False
        self._slots[slot] = number
        self._used += 1
        if self._used * 2 > len(self._slots):
            self._grow()
        return True

    def _slot(self, number: int) -> int:
        slots, mask = self._slots, len(self._slots) - 1
        slot = number & mask
        while slots[slot] and slots[slot] != number:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        old = self._slots
        self._slots = array("Q", [0]) * (2 * len(old))
        for number in filter(None, old):
            self._slots[self._slot(number)] = number


class SampleIds:
    """Maker of sample ids of the form ``CONTENT-OCCURRENCE``: 16 hexadecimal digits, and a count from 0.

    A row inserted elsewhere changes no id. Each file needs its own object, called once for each row, in order.
    """

    def __init__(self) -> None:
        self._seen = HashSet64()
        self._repeats: Counter[str] = Counter()

    def __call__(self, pair: Pair) -> str:
        """Return the id of the next sample, which holds *pair*."""
        content = pair.hash[:16]
        if not self._seen.add(int(content, 16)):
            self._repeats[content] += 1
        return f"{content}-{self._repeats.get(content, 0)}"


# --- reading ----------------------------------------------------------------------------------


def detect_format(path: Path, formats: Mapping[str, Format]) -> str:
    """Return the name of the one format that recognises *path*. A format that raises is logged and does not count.

    Raises:
        DataError: there is no such file, or no format or several recognise it.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file")
    matching, notes = matching_formats(path, formats)
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise DataError(f"{path}: could be {' or '.join(matching)}; choose one with data.format")
    raise DataError(f"{path}: unknown format; name it with data.format; known: {', '.join(formats)}{_noted(notes)}")


def matching_formats(path: Path, formats: Mapping[str, Format]) -> tuple[list[str], list[str]]:
    """Return the names of the formats that recognise *path*, and notes about those that raise, which are logged."""
    matching, notes = [], []
    for name, format_object in formats.items():
        try:
            if format_object.detect(path):
                matching.append(name)
        except (Exception, SystemExit) as error:
            message = without_secrets(described(error))
            where = type(format_object).__module__
            notes.append(" ".join(f"format '{name}' of {where} failed to look at {path}: {message}".split()))
            _log.warning(shown(notes[-1]))
    return matching, notes


def _noted(notes: Iterable[str]) -> str:
    return "".join(f". Note: {note}" for note in notes)


@contextmanager
def blamed(place: object) -> Iterator[None]:
    """Put *place* before the message of a data error that does not begin with it."""
    try:
        yield
    except DataError as error:
        raise error if str(error).startswith(str(place)) else DataError(f"{place}: {error}") from None


def begin_rows(name: object, rows: Iterator[T]) -> tuple[T, Iterator[T]]:
    """Take the first of the rows of a data set; return it, and an iterator over all of them.

    Raises:
        DataError: the rows cannot be read, or there are none.
    """
    first = next(rows, None)
    if first is None:
        raise DataError(f"{name}: no records")
    return first, chain([first], rows)


def shape_of(name: object, first: RawRow | Record, columns: Mapping[str, str] | None = None) -> str:
    """Return the name of the shape that the first row of a data set fits; ``alpaca`` if it is a record already.

    Raises:
        DataError: the row fits no shape or several.
    """
    if isinstance(first, Record):
        return "alpaca"
    with blamed(name):
        return detect_shape(first, columns)


def read_records(
    rows: Iterable[RawRow | Record],
    shape: str,
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    turns: TurnRules = _LAST_TURN,
    place: Callable[[int], str] = "row {} (from 0)".format,
) -> Iterator[Sequence[Record] | Unread]:
    """Yield the records of each row, or the row if it cannot be read. A row that is a record already is its own.

    Args:
        rows: the rows.
        shape: name of their shape.
        columns: the user's name of each column that is not named as its field.
        limit: most records to read.
        turns: the turns of a conversation that are trained, and whether each makes a record of its own.
        place: says where the row with a number is, for a message about it.

    Raises:
        ConfigError: the shape is unknown, or the columns do not fit it.
    """
    meaning = find_shape(shape)
    names = column_names(meaning, columns or {})
    for number, row in enumerate(islice(rows, limit)):
        if isinstance(row, Record):
            yield (row,)
            continue
        try:
            yield [*_records_of(meaning, row, names, turns)]
        except DataError as error:
            yield Unread(number, place(number), row, str(error))


def _records_of(shape: ColumnShape, row: RawRow, names: Names, turns: TurnRules) -> Iterator[Record]:
    if not turns.unroll:
        yield to_record(shape, row, names, turns.trained)
        return
    for one in shape.unroll(row, names, turns.trained):
        yield to_record(shape, one, names)


def with_ids(
    records: Iterable[Record | Unread], shard: Shard | None = None
) -> Iterator[tuple[Sample, Record] | Unread]:
    """Yield the sample of each record of a file, with the record; a row that cannot be read takes a number, but no id.

    Args:
        records: all records of the file, in order, since an id counts the equal records before.
        shard: yield only the samples of this part; equal ones are in one part, so those skipped change no id.
    """
    ids = SampleIds()
    for number, record in enumerate(records):
        if isinstance(record, Unread):
            if shard is None or shard.holds_row(number):
                yield evolve(record, number=number)
            continue
        if shard is not None and not shard.holds(record.pair):
            continue
        yield Sample(ids(record.pair), number, (Version(ORIGINAL, record.pair),)), record


# --- writing ----------------------------------------------------------------------------------


def write_records(
    path: Path,
    format_object: Format,
    shape: str,
    columns: Mapping[str, str] | None,
    records: Iterable[Record],
) -> None:
    """Write all records, or nothing: a crash leaves an earlier file unchanged.

    An existing ordinary file is replaced; an existing folder only if rt wrote it as an output.

    Raises:
        DataError: a record cannot be held by this shape or format.
        DiskError: the file could not be written.
        ConfigError: the shape is unknown, or the columns do not fit it; or what is there must not be replaced.
    """
    rows = rows_of(shape, columns, records)
    with whole(Destination(path, kind=kind_of(format_object), overwrite=True)) as part, blamed(path):
        format_object.write(part, rows)


def kind_of(format_object: Format) -> Literal["file", "folder"]:
    """Return whether a format writes a file or a folder: formats without suffixes for file names write folders."""
    return "file" if format_object.suffixes else "folder"


def rows_of(
    shape: str, columns: Mapping[str, str] | None, records: Iterable[Record | Unread]
) -> Iterator[dict[str, Any]]:
    """Return an iterator over the rows of records. A row that could not be read is given back as it was.

    Raises:
        DataError: a record cannot be held by this shape; the message names its row.
        ConfigError: the shape is unknown, or the columns do not fit it; raised at once.
    """
    meaning = find_shape(shape)
    names = column_names(meaning, columns or {})

    def row(number: int, record: Record | Unread) -> dict[str, Any]:
        if isinstance(record, Unread):
            return dict(record.row)
        with blamed(f"row {number} (from 0)"):
            return to_row(meaning, record, names)

    return (row(number, record) for number, record in enumerate(records))
