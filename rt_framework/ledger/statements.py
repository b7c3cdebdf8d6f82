"""Statements that the ledger's tables hand to its writer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen


@frozen(eq=False)
class Statement:
    """An SQL statement with its values. No two are equal, so that a row id is looked up by the statement itself."""

    sql: str
    values: Sequence[Any] = ()

    def execute(self, db: sqlite3.Connection) -> int:
        """Execute the statement, and return the id of the row that was inserted last."""
        return db.execute(self.sql, [_storable(value) for value in self.values]).lastrowid or 0


def rows_of(rows: Sequence[Sequence[Any]], *first: str) -> str:
    """Return the marks for the values of some rows of equal length: ``(?, ?), (?, ?)``.

    Args:
        rows: the rows.
        first: SQL expressions for values that come first in each row.
    """
    return ", ".join([f"({', '.join([*first, *'?' * len(rows[0])])})"] * len(rows))


RowIds = Mapping[Statement, int]
"""The id of the row that each statement of a write inserted; without meaning for a statement that inserted none."""


_JSON = json.JSONEncoder(sort_keys=True)
"""An encoder into ASCII, so that a lone surrogate in the data cannot fail the write."""


def as_json(value: Any) -> str:
    """Return *value* as the JSON text under which the ledger stores it."""
    return _JSON.encode(value)


def _storable(value: Any) -> Any:
    """Return *value* as SQLite can store it: text is UTF-8, so a lone surrogate is replaced by an escape sequence.

    A function is called here, in the writer's thread, for a value that takes long to make.
    """
    if callable(value):
        return value()
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()
