"""Guesses which columns hold the fields of a shape, for columns with names of their own: for a config to start from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from rt_framework.data.messages import MESSAGES, SHAREGPT
from rt_framework.data.shapes import SHAPES, fitting_shapes
from rt_framework.data.values import RawRow, list_of
from rt_framework.errors import DataError
from rt_framework.model import Record

_ASKED = ("instruction", "instructions", "question", "query", "prompt", "problem", "task", "input", "user", "human")
_ANSWERED = ("output", "answer", "response", "completion", "solution", "reply", "target", "assistant")
_ASIDE = {"input": ("context", "passage"), "system": ("system_prompt", "system_message")}
"""Usual names of the columns of a field, the most telling first. Capitals do not matter."""


def guessed_columns(row: RawRow | Record, columns: Mapping[str, str]) -> dict[str, str]:
    """Return the column of each field that has another name; nothing new where the columns tell no more.

    Args:
        row: a row of the data set.
        columns: the user's name of each column that is not named as its field, which the result has too.
    """
    if isinstance(row, Record):  # which has its texts already
        return dict(columns)
    found, fits = dict(columns), bool(fitting_shapes(row, columns))
    if not fits:
        found |= _conversation(row) or _question(row, columns)
    for shape in fitting_shapes(row, found):
        # Where a shape fits as it is, a column such as 'context' may be kept beside it on purpose.
        for field in ("system",) if fits else ("system", "input"):
            if field in SHAPES[shape].optional and field not in {*row, *found}:
                found |= _first(field, _named(row, _ASIDE[field], found))
    return found


def _conversation(row: RawRow) -> dict[str, str]:
    """Return the first column that holds messages, by what is in it."""
    for column in row:
        with suppress(DataError):
            first = next(iter(list_of(row, column)), None)
            for dialect in (MESSAGES, SHAREGPT):
                if isinstance(first, Mapping) and {dialect.role, dialect.content} <= set(first):
                    return {dialect.field: column}
    return {}


def _question(row: RawRow, columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of a question and its answer, by their usual names; nothing unless both are there."""
    found = dict(columns)
    for field, usual in (("instruction", _ASKED), ("output", _ANSWERED)):
        named = [] if field in found else _named(row, usual, found)
        if not named and field not in found:
            return {}
        found |= _first(field, named)
    return found


def _first(field: str, columns: Sequence[str]) -> dict[str, str]:
    """Return the first of the columns as the field's, unless there is none or it has the name of the field."""
    return {field: columns[0]} if columns and columns[0] != field else {}


def _named(row: RawRow, usual: tuple[str, ...], taken: Mapping[str, str]) -> list[str]:
    """Return the columns with texts that have one of the usual names, and are no other field's."""
    by_name = {
        str(column).strip().casefold(): str(column)
        for column, value in row.items()
        if isinstance(value, str) and column not in taken.values()
    }
    return [by_name[name] for name in usual if name in by_name]
