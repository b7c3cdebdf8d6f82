"""Shared code of the text formats: opening files, strict JSON, and errors that name the place."""

from __future__ import annotations

import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from attrs import frozen

from rt_framework.builtin.formats.packed import Unpacked, is_packed
from rt_framework.errors import DataError

_SURROGATE = re.compile("[\ud800-\udfff]")

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the system's errors about an unreadable file into a :class:`DataError` of one clear line.

    Raises:
        DataError: the file cannot be opened, read or decoded.
    """
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a directory; give a file, or name the format with data.format") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); convert it, or set data.format") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def as_stored(path: Path) -> BinaryIO:
    """Open a file to read the bytes that are on the disk."""
    return path.open("rb")


@contextmanager
def opened(path: Path, opener: Callable[[Path], BinaryIO] = as_stored, lines: bool = True) -> Iterator[BinaryIO]:
    """Open a text file to read its bytes, which are unpacked if its name ends with ``.gz``.

    Args:
        path: the file.
        opener: opens the bytes that are on the disk.
        lines: true if the file is read line by line; false if it is held in memory as one text.

    Raises:
        DataError: as :func:`reading`; or a packed file is cut off or damaged, or has a record that is too large.
    """
    with reading(path), opener(path) as file:
        if not is_packed(path):
            yield file
            return
        with io.BufferedReader(Unpacked(path, file, lines), 2**16) as unpacked:
            yield unpacked


def first_character(path: Path) -> str:
    """Return the first character that is not blank; ``""`` when there is none or the file cannot be read."""
    try:
        with opened(path) as file:
            return file.read(4096).decode("utf-8-sig", "ignore").lstrip()[:1]
    except DataError:
        return ""


def has_suffix(path: Path, suffixes: Sequence[str]) -> bool:
    """Return whether the name ends with one of *suffixes*, in any letter case."""
    return path.name.lower().endswith(tuple(suffixes))


class Unfit(ValueError):
    """JSON that Python would read as another value than the one written."""


@frozen
class _Fault:
    """Placeholder for a value that cannot be read."""

    why: str


def from_json(text: str) -> Any:
    """Parse JSON strictly, so that the result holds exactly the values that are written.

    Raises:
        Unfit: a number is too large for Python, is NaN or an infinity, or a key occurs twice; names the place.
        ValueError: the JSON is broken.
        RecursionError: the JSON is nested too deeply.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Parse again to find the place of the fault, which a hook does not know.
        parsed = json.loads(
            text, parse_constant=_constant, parse_float=_try(_float), parse_int=_try(int), object_pairs_hook=_told
        )
        raise Unfit(next(_faults(parsed))) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"is {constant}, which is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"is {text[:20]}, which is too large for a number")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("occurs twice")
    return mapping


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_float, object_pairs_hook=_object)
"""Made once, because making it takes as long as reading a row."""


def _constant(text: str) -> _Fault:
    return _Fault(f"is {text}, which is not JSON")


def _try(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def tried(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            long = f"is a number of {len(text)} digits, which is too large"
            return _Fault(long if read is int else str(error))

    return tried


def _told(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    counts = Counter(key for key, _ in pairs)
    return {key: _Fault("occurs twice") if counts[key] > 1 else value for key, value in pairs}


def _faults(value: Any, place: str = "") -> Iterator[str]:
    """Yield a description of each fault in a parsed record, or array of records: row, column, and what is wrong."""
    if isinstance(value, _Fault):
        yield f"{place or 'a value'} {value.why}"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _faults(item, f"{place}column '{key}'" if not place or place.endswith(": ") else place)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _faults(item, place or f"row {number} (from 0): ")


def to_json(value: object) -> str:
    """Return strict JSON on one line. A lone surrogate, which UTF-8 cannot hold, is escaped.

    Raises:
        ValueError: the value holds NaN or an infinity.
        TypeError: the value holds a type that JSON lacks.
    """
    text = _ENCODER.encode(value)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def row_to_json(row: Mapping[str, Any], number: int) -> str:
    """Return a row as one line of JSON.

    Raises:
        DataError: a column cannot be written; names row (from 0) and column.
    """
    try:
        return to_json(row)
    except (ValueError, TypeError, RecursionError):
        for column, value in row.items():
            cell(value, number, column)
        raise


def cell(value: object, number: int, column: str) -> str:
    """Return one value as JSON.

    Raises:
        DataError: the value cannot be written; names row (from 0) and column.
    """
    try:
        return to_json(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"row {number} (from 0): column '{column}' cannot be written: {error}; remove it, or write parquet"
        ) from None
