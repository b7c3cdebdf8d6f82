"""Values of a row's columns, read as texts and lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rt_framework.errors import DataError

RawRow = Mapping[str, Any]
"""A row as a format reads and writes it."""

Names = Mapping[str, str]
"""The column that holds each field of a shape; a field without a column is left out."""


def kind_of(value: object) -> str:
    """Return the type of a value in words, for a message."""
    return "null" if value is None else f"a value of type {type(value).__name__}"


def text_of(row: RawRow, column: str) -> str:
    """Return the text of a column; empty where there is none.

    Raises:
        DataError: the column holds no text.
    """
    value = row.get(column)
    if value is not None and not isinstance(value, str):
        raise DataError(f"column '{column}' holds {kind_of(value)}, not text; make it a string")
    return value or ""


def list_of(row: RawRow, column: str) -> list[Any]:
    """Return a nested value. Containers without nesting, such as CSV, hold it as JSON text.

    Raises:
        DataError: the column holds no list.
    """
    value = row.get(column)
    if isinstance(value, str) and value:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"column '{column}' is text, and not the JSON of a list: {error}; correct or rename it"
            ) from None
    if value is not None and value != "" and not isinstance(value, list):
        raise DataError(f"column '{column}' holds {kind_of(value)}, not a list; see data.shape and data.columns")
    return value or []


def like(old: object, value: list[Any]) -> object:
    """Return the list in the form of its column's old value: JSON text stays JSON text."""
    return json.dumps(value, ensure_ascii=False) if isinstance(old, str) else value
