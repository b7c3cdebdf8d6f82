"""The format of JSON lines, with one object per line."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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

_WAY_OUT = "correct it: write one object on each line; for an array of objects set data.format: json"


class JsonlFormat:
    """Format of one object per line, read and written one at a time. Blank lines and a byte order mark are skipped."""

    suffixes: Sequence[str] = packed(".jsonl", ".ndjson")

    def detect(self, path: Path) -> bool:
        """Return whether the file has this format's suffix, or is a ``.json`` file that starts with an object."""
        if not path.is_file():
            return False
        return has_suffix(path, self.suffixes) or (has_suffix(path, packed(".json")) and first_character(path) == "{")

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """Return an iterator over the objects, read one at a time.

        Raises:
            DataError: the file cannot be read, or a line is broken; names the line.
        """
        return self.read_with(path, as_stored)

    def read_with(self, path: Path, opener: Callable[[Path], BinaryIO]) -> Iterator[Mapping[str, Any]]:
        """Yield the objects, from the file that *opener* opens.

        Raises:
            DataError: as :meth:`read`.
        """
        # Bytes, because text is decoded in blocks, which would lose the number of the line with a broken character.
        with opened(path, opener) as file:
            for number, line in enumerate(file, 1):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if text.strip():
                    yield _object(text, f"{path}: line {number}")

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write one object per line.

        Raises:
            DataError: JSON cannot hold a value, NaN for example.
        """
        with created(path) as file:
            for number, row in enumerate(rows):
                file.write(row_to_json(row, number) + "\n")

    def prepare(self, rows: Iterable[Mapping[str, Any]], texts: Collection[str], schema: Any) -> Write:  # noqa: ARG002
        """Check that JSON can hold every row, and return :meth:`write`.

        Raises:
            DataError: as :meth:`write`.
        """
        for number, row in enumerate(rows):
            row_to_json(row, number)
        return self.write


def _object(line: bytes, place: str) -> Mapping[str, Any]:
    try:
        row = from_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 text ({error.reason}); convert it, or set data.format") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: broken JSON: {error.msg} at column {error.colno}; {_WAY_OUT}") from None
    except Unfit as error:
        raise DataError(f"{place}: {error}; correct or remove that value") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: broken JSON: {error}; {_WAY_OUT}") from None
    if not isinstance(row, dict):
        raise DataError(f"{place}: not an object; each line is {{column: value, …}}")
    return row
