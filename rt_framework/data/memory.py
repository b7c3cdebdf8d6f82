"""Rows in memory, which are copied to a temporary file once, so that a run can read them as often as it needs."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from weakref import finalize

from cattrs import unstructure

from rt_framework.data.reading import telling_row
from rt_framework.data.rows import begin_rows, shape_of
from rt_framework.data.source import Source
from rt_framework.data.spool import Spool, check_spoolable
from rt_framework.data.values import RawRow, kind_of
from rt_framework.errors import DataError, DiskError
from rt_framework.model import Pair, Record

IN_MEMORY = "rows in memory"
"""Name of such a source, also as the path of the data in a config."""

_BATCH = 1000
"""Rows of a table that are converted at a time."""

_AS_WRITTEN = (bytes, date, time, timedelta, Decimal)
"""Types besides those of JSON that a column may hold, and that always have the same ``repr``."""


def rows_source(
    rows: Iterable[object],
    columns: Mapping[str, str] | None = None,
    shape: str | None = None,
    limit: int | None = None,
    unreadable: Literal["refuse", "drop"] = "refuse",
) -> Source:
    """Return the source of rows in memory, which are copied to a temporary file: later changes of them are not seen.

    Args:
        rows: mappings of columns, pairs or records; a ``datasets.Dataset`` or a pandas ``DataFrame``. An iterator is
            read to its end.
        columns: the name of each column that is not named as its field.
        shape: shape of the columns; found from the first row when left out, and ``alpaca`` for pairs and records.
        limit: most rows to take.
        unreadable: ``drop`` leaves mappings that cannot be read as samples out; any other object is refused.

    Raises:
        DataError: a row cannot be understood, or there are none; the message names the row.
        ConfigError: no shape has a field that *columns* names.
        DiskError: the temporary file cannot be written.
    """
    reader = RowReader(rows)
    detected = shape_of(reader.name, telling_row(reader, columns or {}, unreadable == "drop"), columns)
    return Source(
        reader, reader.format_name, shape or detected, dict(columns or {}), unreadable=unreadable, limit=limit
    )


class RowReader:
    """Reader of rows that were in memory."""

    name = IN_MEMORY
    inputs: tuple[Path, ...] = ()
    hashes = False
    facts: Mapping[str, str] = {}

    def __init__(self, rows: Iterable[object]) -> None:
        plain, self._schema, self.format_name = _opened(rows)
        self._rows = Spool[RawRow | Record]()
        finalize(self, self._rows.close)
        content = hashlib.sha256()
        for number, row in enumerate(plain):
            record = _understood(row, number)
            content.update(_canonical(record, number))
            self._append(number, record)
        self._content = content.hexdigest()

    def _append(self, number: int, record: RawRow | Record) -> None:
        try:
            check_spoolable(number, record)
            self._rows.append(record)
        except DataError as error:
            raise DataError(f"{IN_MEMORY}: {error}") from None
        except OSError as error:
            raise DiskError(f"{IN_MEMORY}: cannot be copied to a temporary file: {error.strerror or error}") from error

    def first_row(self) -> RawRow | Record:
        """Return the first row.

        Raises:
            DataError: there are no rows.
        """
        return begin_rows(self.name, iter(self._rows))[0]

    def rows(self) -> Iterator[RawRow | Record]:
        """Return an iterator over all rows."""
        return iter(self._rows)

    def place(self, number: int) -> str:
        """Return where the row with this number is."""
        return _place(number)

    def content_read(self) -> str | None:
        """Return the hash of all rows."""
        return self._content

    def content(self) -> str:
        """Return the hash of all rows, which cannot change."""
        return self._content

    def schema(self) -> Any:
        """Return the columns of a ``datasets.Dataset``; ``None`` for other rows, whose columns have no types."""
        return self._schema

    def size(self) -> int:
        """Return the bytes of the copy."""
        return self._rows.size()


def _place(number: int) -> str:
    return f"{IN_MEMORY}: row {number} (from 0)"


# --- kinds of rows ----------------------------------------------------------------------------


def _opened(rows: Iterable[object]) -> tuple[Iterable[object], Any, str]:
    """Return the rows of an object, their schema if they have one, and the format that outputs have by default.

    Raises:
        DataError: the object holds no rows.
    """
    if _is(rows, "datasets", "Dataset"):
        return _rows_of_dataset(rows), rows.features.arrow_schema, "parquet"  # type: ignore[attr-defined]
    if _is(rows, "pandas", "DataFrame"):
        return _rows_of_frame(rows), None, "parquet"
    if isinstance(rows, Mapping):
        keys = ", ".join(map(str, list(rows)[:5])) or "none"
        raise DataError(
            f"{IN_MEMORY}: a mapping is no list of rows (its keys: {keys}); give one split, or a list of rows"
        )
    if isinstance(rows, str | bytes | Path) or not isinstance(rows, Iterable):
        raise DataError(f"{IN_MEMORY}: {kind_of(rows)} is no list of rows; give mappings of columns, pairs or records")
    return rows, None, "jsonl"


def _is(rows: object, module: str, kind: str) -> bool:
    """Return whether an object is of a class of a library. If the library is not loaded, there is no such object."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(rows, getattr(loaded, kind))


def _rows_of_dataset(dataset: Any) -> Iterator[object]:
    """Yield the rows as they are stored: images and audio are not decoded."""
    for table in dataset.with_format("arrow").iter(batch_size=_BATCH):
        yield from table.to_pylist()


def _rows_of_frame(frame: Any) -> Iterator[object]:
    """Yield the rows without the index. Every kind of missing value is a null.

    Raises:
        DataError: two columns have one name.
    """
    twice = next((name for name in frame.columns if list(frame.columns).count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{IN_MEMORY}: two columns are called '{twice}'; rename one")
    for start in range(0, len(frame), _BATCH):
        part = frame.iloc[start : start + _BATCH].astype(object)
        yield from part.where(part.notna(), None).to_dict("records")


# --- rows -------------------------------------------------------------------------------------


def _understood(row: object, number: int) -> RawRow | Record:
    """Return a row with plain values, or the record of a pair.

    Raises:
        DataError: the row is none of these.
    """
    if isinstance(row, Pair | Record):
        record = Record(row) if isinstance(row, Pair) else row
        _check_texts(record.pair, number)
        return record
    if not isinstance(row, Mapping):
        raise DataError(f"{_place(number)}: {kind_of(row)} is no row; give mappings of columns, pairs or records")
    odd = next((column for column in row if not isinstance(column, str)), None)
    if odd is not None:
        raise DataError(f"{_place(number)}: the name of a column is {odd!r:.80}, not text; rename it")
    return {column: _plain(value) for column, value in row.items()}


def _check_texts(pair: Pair, number: int) -> None:
    texts = {"instruction": pair.instruction, "input": pair.input, "response": pair.response}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise DataError(f"{_place(number)}: the {name} of the pair is {kind_of(text)}, not text; make it a string")


def _plain(value: Any) -> Any:
    """Return a value with plain lists and mappings; arrays, and numbers of numpy, become those of Python."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return value


def _canonical(record: RawRow | Record, number: int) -> bytes:
    """Return the content of a row as bytes, which are the same in every process.

    Raises:
        DataError: a column has a value of a type that no format can hold.
    """
    row = unstructure(record, Record) if isinstance(record, Record) else record
    try:
        text = json.dumps(row, ensure_ascii=False, sort_keys=True, default=_written)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{_place(number)}: {error}; convert the value, or remove the column") from None
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _written(value: object) -> list[str]:
    if not isinstance(value, _AS_WRITTEN):
        raise TypeError(f"{kind_of(value)} fits no format")
    return [type(value).__name__, repr(value)]
