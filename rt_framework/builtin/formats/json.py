"""The format of JSON files that hold one array of objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO

from rt_framework.builtin.formats.packed import created, packed
from rt_framework.builtin.formats.text import (
    Unfit,
    as_stored,
    first_character,
    from_json,
    has_suffix,
    opened,
    row_to_json,
)
from rt_framework.errors import DataError
from rt_framework.protocols import Write


class JsonFormat:
    """Format of an array of objects. Reading holds the whole file in memory; JSON lines is for large data."""

    suffixes: Sequence[str] = packed(".json")

    def detect(self, path: Path) -> bool:
        """Return whether the path is a ``.json`` or ``.json.gz`` file that does not start with an object."""
        return path.is_file() and has_suffix(path, self.suffixes) and first_character(path) != "{"

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """Return an iterator over the objects of the array; an empty file has none.

        Raises:
            DataError: the file cannot be read, is broken JSON (with line and column), or is no array of objects.
        """
        return self.read_with(path, as_stored)

    def read_with(self, path: Path, opener: Callable[[Path], BinaryIO]) -> Iterator[Mapping[str, Any]]:
        """Yield the objects of the array in the file that *opener* opens.

        Raises:
            DataError: as :meth:`read`.
        """
        with opened(path, opener, lines=False) as file, TextIOWrapper(file, encoding="utf-8-sig") as text_file:
            text = text_file.read()
        rows = _parsed(path, text) if text.strip() else []
        if not isinstance(rows, list):
            raise DataError(f"{path}: not an array; write [ … ] around the records, or set data.format: jsonl")
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise DataError(f"{path}: row {number} (from 0): not an object; each record is {{column: value, …}}")
            yield row

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write an array, with one record per line.

        Raises:
            DataError: JSON cannot hold a value, NaN for example.
        """
        with created(path) as file:
            file.write("[")
            for number, row in enumerate(rows):
                file.write((",\n" if number else "\n") + row_to_json(row, number))
            file.write("\n]\n")

    def prepare(self, rows: Iterable[Mapping[str, Any]], texts: Collection[str], schema: Any) -> Write:  # noqa: ARG002
        """Check that JSON can hold every row, and return :meth:`write`.

        Raises:
            DataError: as :meth:`write`.
        """
        for number, row in enumerate(rows):
            row_to_json(row, number)
        return self.write


def _parsed(path: Path, text: str) -> Any:
    try:
        return from_json(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{path}: {place}: broken JSON: {error.msg}; correct it there") from None
    except Unfit as error:
        raise DataError(f"{path}: {error}; correct or remove that value") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: broken JSON: {error}; correct or remove that value") from None
