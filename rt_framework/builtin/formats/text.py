"""What the text formats share: opening, strict JSON, and errors that name the place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from rt_framework.errors import DataError

_SURROGATE = re.compile("[\ud800-\udfff]")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the system says about an unreadable file into one clear line.

    Raises:
        DataError: the file cannot be opened, read or decoded.
    """
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a directory; give a file, or say what it is with data.format") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); convert it, or set data.format") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def first_character(path: Path) -> str:
    """The first character that is not blank; ``""`` when there is none or the file cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4096).decode("utf-8-sig", "ignore").lstrip()[:1]
    except OSError:
        return ""


def has_suffix(path: Path, suffixes: Sequence[str]) -> bool:
    """Whether the name ends with one of *suffixes*, in capitals or not."""
    return path.name.lower().endswith(tuple(suffixes))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def from_json(text: str) -> Any:
    """Parse strict JSON.

    Raises:
        ValueError: it is broken, or holds NaN or an infinity.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_constant=_refuse)


def to_json(value: object) -> str:
    """Strict JSON on one line. A lone surrogate, which UTF-8 cannot hold, is escaped.

    Raises:
        ValueError: the value holds NaN or an infinity.
        TypeError: the value holds a type that JSON lacks.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def row_to_json(row: Mapping[str, Any], number: int) -> str:
    """A row as one line of JSON.

    Raises:
        DataError: a column cannot be written; names row (from 0) and column.
    """
    try:
        return to_json(row)
    except (ValueError, TypeError):
        for column, value in row.items():
            cell(value, number, column)
        raise


def cell(value: object, number: int, column: str) -> str:
    """One value as JSON.

    Raises:
        DataError: it cannot be written; names row (from 0) and column.
    """
    try:
        return to_json(value)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"row {number} (from 0): column '{column}' cannot be written: {error}; remove it, or write parquet"
        ) from None
