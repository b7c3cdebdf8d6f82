"""Shared code of the Arrow-based formats: conversion of rows, and one type per column for all batches."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa

from rt_framework.errors import DataError

BATCH_ROWS = 1000
"""Rows held as Python objects at a time."""

UNFIT = (pa.ArrowException, TypeError, ValueError, OverflowError, LookupError, RecursionError, NotImplementedError)
"""Exceptions that Arrow raises for values and types that it cannot represent."""

_NANOSECONDS = "time64[ns]"
"""The only Arrow type whose values are truncated without an error on conversion to Python."""

Row = Mapping[str, Any]


# --- reading ----------------------------------------------------------------------------------


def to_rows(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[Row]:
    """Yield the rows of batches; nested columns are lists and dicts.

    Raises:
        DataError: two columns have one name, or Python cannot represent a value; names row and column.
    """
    start = 0
    for batch in batches:
        names = batch.schema.names
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"two columns are called '{twice}'; rename one")
        try:
            rows = batch.to_pylist()
        except UNFIT:
            rows = None
        if rows is None or any(_NANOSECONDS in str(field.type) for field in batch.schema):
            _check_readable(batch, start)
        yield from rows or ()
        start += batch.num_rows


def _check_readable(batch: pa.RecordBatch | pa.Table, start: int) -> None:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        for number, value in enumerate(column, start):
            problem = _unreadable(value)
            if problem:
                raise DataError(
                    f"row {number} (from 0): column '{name}' cannot be read: {problem}; convert or remove it"
                )


def _unreadable(value: pa.Scalar) -> str:
    """Return why Python cannot represent a value; an empty text if it can."""
    try:
        plain = value.as_py()
        cut = _NANOSECONDS in str(value.type) and pa.scalar(plain, value.type) != value
    except UNFIT as error:
        return short(error)
    return "a time of day has nanoseconds, which Python cannot hold" if cut else ""


# --- the types of columns ---------------------------------------------------------------------


class Types:
    """The type of each column, determined batch by batch, so that only one batch is held in memory.

    A type is only widened where every value stays the same: null to anything, whole numbers to floats that hold them
    exactly, structs to the union of their fields.

    Args:
        texts: columns whose texts may have changed by the time they are written.
        schema: the columns as they were read, where that is known: columns that pass through unchanged keep their
            types.
    """

    def __init__(self, texts: Collection[str] = (), schema: pa.Schema | None = None) -> None:
        self._texts = frozenset(texts)
        self._metadata = None if schema is None else schema.metadata
        self._given = {field.name: field for field in self._usable(schema or ())}
        self._found: dict[str, pa.DataType] = {}
        self._large: set[str] = set()
        """Columns with a whole number that no float represents exactly."""
        self._rows = 0

    def add(self, rows: list[Row]) -> pa.Table:
        """Add the next rows and return them as a table, with the types that these rows alone would have.

        Raises:
            DataError: a column holds values without a common type; names row and column.
        """
        columns = dict.fromkeys(column for row in rows for column in row)
        arrays = [self._column(column, [row.get(column) for row in rows]) for column in columns]
        self._rows += len(rows)
        return pa.table(arrays, names=list(columns))

    def schema(self) -> pa.Schema:
        """Return all columns so far, in the order in which they first appeared."""
        fields = [self._given.get(name) or pa.field(name, self._widest(name)) for name in self._found]
        return pa.schema(fields, self._metadata)

    def _usable(self, schema: Iterable[pa.Field]) -> Iterator[pa.Field]:
        """Yield the fields that also fit the output: a text that may change needs a column that takes any text."""
        for field in schema:
            if field.name not in self._texts:
                yield field
            elif _is_text(field.type) or pa.types.is_list(field.type) or pa.types.is_large_list(field.type):
                yield field.with_type(_for_texts(field.type))

    def _widest(self, name: str) -> pa.DataType:
        return _for_texts(self._found[name]) if name in self._texts else self._found[name]

    def _column(self, name: str, values: list[Any]) -> pa.Array:
        try:
            array, self._found[name] = self._fitted(name, values)
        except UNFIT as error:

            def fails(count: int) -> bool:
                return _raises(lambda: self._fitted(name, values[:count]))

            number = self._rows + bisect_left(range(1, len(values)), True, key=fails)
            problem = f"column '{name}' does not fit an Arrow type: {short(error)}"
            way_out = "give its values one type, remove the column, or write jsonl"
            raise DataError(f"row {number} (from 0): {problem}; {way_out}") from error
        if _exceeds_floats(array):
            self._large.add(name)
        return array

    def _fitted(self, name: str, values: list[Any]) -> tuple[pa.Array, pa.DataType]:
        """Return the values as an array, and the type that the column then has."""
        name.encode()
        if name in self._given:
            array = to_array(values, self._given[name].type)
            return array, array.type
        array = to_array(values)
        exact = name in self._large or _exceeds_floats(array)
        return array, _joined(self._found.get(name, pa.null()), array.type, exact)


def _raises(work: Callable[[], object]) -> bool:
    try:
        work()
    except UNFIT:
        return True
    return False


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _mapped(kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Return a type with *leaf* applied to the types inside its lists and structs."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_mapped(field.type, leaf)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_mapped(kind.value_type, leaf)))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_mapped(kind.value_type, leaf)))
    return leaf(kind)


def _for_texts(kind: pa.DataType) -> pa.DataType:
    """Return the type with room for any text, since a column of nulls or of a few categories may get other texts."""
    return _mapped(kind, lambda leaf: pa.string() if pa.types.is_null(leaf) else _without_categories(leaf))


def _without_categories(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def without_categories(schema: pa.Schema) -> pa.Schema:
    """Return the schema with every categorical type replaced by the type of its values."""
    fields = [field.with_type(_mapped(field.type, _without_categories)) for field in schema]
    return pa.schema(fields, schema.metadata)


def _exceeds_floats(array: pa.Array) -> bool:
    """Return whether an array has a whole number that no float represents exactly."""
    floats = _mapped(array.type, lambda leaf: pa.float64() if pa.types.is_int64(leaf) else leaf)
    return floats != array.type and _raises(lambda: array.cast(floats))


def _joined(earlier: pa.DataType, later: pa.DataType, exact: bool) -> pa.DataType:
    """Return the type that holds the values of both types.

    Args:
        exact: whether one of the columns has whole numbers that no float represents exactly.

    Raises:
        TypeError: there is no such type.
    """
    if earlier == later or pa.types.is_null(later):
        return earlier
    if pa.types.is_null(earlier):
        return later
    if {earlier, later} == {pa.int64(), pa.float64()} and not exact:
        return pa.float64()
    if pa.types.is_decimal(earlier) and pa.types.is_decimal(later):
        schemas = (pa.schema([("", kind)]) for kind in (earlier, later))
        return pa.unify_schemas(list(schemas), promote_options="permissive").field(0).type
    if pa.types.is_list(earlier) and pa.types.is_list(later):
        return pa.list_(_joined(earlier.value_type, later.value_type, exact))
    if pa.types.is_struct(earlier) and pa.types.is_struct(later):
        fields = {field.name: field.type for field in earlier}
        for field in later:
            fields[field.name] = _joined(fields.get(field.name, pa.null()), field.type, exact)
        return pa.struct(list(fields.items()))
    raise TypeError(f"the types {later} and {earlier} do not fit together")


# --- values -----------------------------------------------------------------------------------


def to_array(values: list[Any], kind: pa.DataType | None = None) -> pa.Array:
    """Return values as an array, of the given type or else of the type that Arrow infers.

    A lone surrogate, which Arrow cannot encode, becomes ``?``.

    Raises:
        Exception: one of :data:`UNFIT`, if the array would not give back the same values.
    """
    try:
        array = pa.array(values, kind)
    except UnicodeEncodeError:
        values = [_encodable(value) for value in values]
        array = pa.array(values, kind)
    if not _is_text(array.type):
        # Without an error Arrow takes true for 1.0 among floats, and truncates a time to its date.
        changed = next(
            (value for value, back in zip(values, array.to_pylist(), strict=True) if not _same(value, back)), None
        )
        if changed is not None:
            raise TypeError(f"{array.type} cannot hold {changed!r:.80}")
    return array


def _same(value: Any, back: Any) -> bool:
    """Return whether an array gave back the value it was given.

    A key that only some objects have is null in the others.
    """
    if isinstance(value, Mapping):
        if not isinstance(back, Mapping):  # a map, which Arrow gives as pairs
            return _same(list(value.items()), back)
        return all(_same(value.get(key), item) for key, item in back.items()) and value.keys() <= back.keys()
    if isinstance(value, list | tuple):
        return len(value) == len(back) and all(map(_same, value, back))
    if isinstance(value, float) and math.isnan(value):
        return isinstance(back, float) and math.isnan(back)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(value == back) and not isinstance(back, bool)
    return bool(value == back) and isinstance(back, type(value))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value


def short(error: BaseException) -> str:
    """Return the message of an error in one line, cut to 160 characters, since it may show a long value."""
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else f"{text[:159]}…"


# --- writing ----------------------------------------------------------------------------------


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield the rows in lists of at most :data:`BATCH_ROWS`."""
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH_ROWS)):
        yield batch


def settle(
    rows: Iterable[Row], texts: Collection[str], schema: pa.Schema | None, attempt: Callable[[pa.Table], object]
) -> pa.Schema:
    """Return the schema in which all rows can be written.

    Args:
        texts: columns whose texts may have changed by the time they are written.
        schema: the columns as they were read, where that is known.
        attempt: writes a table to a temporary place and reads it again; raises a DataError where the format lacks a
            type.

    Raises:
        DataError: a column holds values without a common type, or of a type that the format lacks; names the column.
    """
    types, first = Types(texts, schema), None
    for batch in chunks(rows):
        first = first or batch
        types.add(batch)
    settled = types.schema()
    table = pa.Table.from_batches(to_batches(first or [], settled), settled)
    try:
        _attempt(table, attempt)
    except DataError:
        for name in table.column_names:
            try:
                _attempt(table.select([name]), attempt)
            except DataError as error:
                raise DataError(f"column '{name}' {error}") from None
        raise
    return settled


def _attempt(table: pa.Table, attempt: Callable[[pa.Table], object]) -> None:
    """Try the table with its rows and with none, since an output may be empty."""
    attempt(table)
    attempt(table.slice(0, 0))


def to_batches(rows: Iterable[Row], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows in batches of one schema.

    Raises:
        DataError: a row has a column or a value that was not there when the schema was determined.
    """
    names = frozenset(schema.names)
    for batch in chunks(rows):
        new = next((column for row in batch for column in row if column not in names), None)
        if new is not None:
            raise DataError(f"column '{new}' was not in the input when its schema was read; write jsonl")
        try:
            arrays = [to_array([row.get(field.name) for row in batch], field.type) for field in schema]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        except UNFIT as error:
            raise DataError(f"the columns do not fit Arrow types: {short(error)}; write jsonl") from error


def to_table(rows: Iterable[Row]) -> pa.Table:
    """Return one table, held in memory, since without a schema the last row may still change a column's type.

    Raises:
        DataError: a column holds values without a common type; names row and column.
    """
    types = Types()
    tables = [types.add(batch) for batch in chunks(rows)]
    try:
        return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    except UNFIT as error:
        raise DataError(f"the columns do not fit Arrow types: {short(error)}; write jsonl") from error
