"""What the Arrow-based formats share: rows to one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pyarrow as pa

from rt_framework.errors import DataError

BATCH_ROWS = 1000
"""Rows held as Python objects at a time."""


def to_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """One table with the union of all columns, in the order in which they first appear.

    The table is held in memory: a column has one type, and only the last row settles it. A key that
    only some rows have is null in the others; a lone surrogate, which Arrow refuses, becomes ``?``.

    Raises:
        DataError: a column holds values without a common type.
    """
    tables = [_batch(batch) for batch in _batches(rows)]
    with _fitting():
        return pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})


@contextmanager
def _fitting() -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"the columns do not fit Arrow types: {error}; write jsonl") from error


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH_ROWS)):
        yield batch


def _batch(rows: list[Mapping[str, Any]]) -> pa.Table:
    columns = dict.fromkeys(column for row in rows for column in row)
    with _fitting():
        return pa.table({column: _array([row.get(column) for row in rows]) for column in columns})


def _array(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except UnicodeEncodeError:
        return pa.array([_encodable(value) for value in values])


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value
