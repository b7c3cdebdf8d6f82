"""The format of CSV files with a header row."""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, BinaryIO

from rt_framework.builtin.formats.packed import MOST_BYTES, created, packed
from rt_framework.builtin.formats.text import as_stored, cell, has_suffix, opened
from rt_framework.errors import DataError
from rt_framework.protocols import Write


class CsvFormat:
    """Format of comma-separated values in UTF-8, as in RFC 4180 and spreadsheets. Every value is read as text."""

    suffixes: Sequence[str] = packed(".csv")

    def detect(self, path: Path) -> bool:
        """Return whether the path is a file with the suffix of this format."""
        return path.is_file() and has_suffix(path, self.suffixes)

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """Return an iterator over the rows, read one at a time, by the names in the header. Blank lines are skipped.

        Raises:
            DataError: the file cannot be read, the header names a column twice, or a line has more or fewer cells
                than the header; names the line.
        """
        return self.read_with(path, as_stored)

    def read_with(self, path: Path, opener: Callable[[Path], BinaryIO]) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of the file that *opener* opens.

        Raises:
            DataError: as :meth:`read`.
        """
        # The default limit of 128 KiB per cell is less than a long answer. It can only be set for the whole process.
        csv.field_size_limit(MOST_BYTES)
        with opened(path, opener) as raw, TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            try:
                header = next(lines, [])
                _check_header(path, header)
                for cells in filter(None, lines):
                    yield _row(path, lines.line_num, header, cells)
            except csv.Error as error:
                raise DataError(f"{path}: line {lines.line_num}: broken CSV: {error}; correct its quotes") from None

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the union of all columns, in the order in which they first appear.

        Values that are no text are written as JSON, null as an empty cell, a lone surrogate as ``?``.

        Raises:
            DataError: JSON cannot hold a value, NaN for example.
        """
        # The header comes first but is complete only after the last row, and the rows may be too many for memory.
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace", newline="", dir=path.parent) as body:
            header = _write_body(body, rows)
            body.seek(0)
            csv.field_size_limit(sys.maxsize)
            with created(path, errors="replace", newline="") as file:
                out = csv.writer(file)
                out.writerow(header)
                out.writerows(cells + [""] * (len(header) - len(cells)) for cells in csv.reader(body))

    def prepare(self, rows: Iterable[Mapping[str, Any]], texts: Collection[str], schema: Any) -> Write:  # noqa: ARG002
        """Check that a cell can hold every value, and return :meth:`write`.

        Raises:
            DataError: as :meth:`write`.
        """
        for number, row in enumerate(rows):
            for column, value in row.items():
                _cell(value, number, column)
        return self.write


def _write_body(body: IO[str], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Write the rows without a header and return the header; early rows may have fewer cells than the header."""
    header: dict[str, None] = {}
    out = csv.writer(body)
    for number, row in enumerate(rows):
        header.update(dict.fromkeys(row))
        out.writerow([_cell(row.get(column), number, column) for column in header])
    return list(header)


def _cell(value: object, number: int, column: str) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else cell(value, number, column)


def _check_header(path: Path, header: list[str]) -> None:
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise DataError(f"{path}: line 1: two columns are called '{twice[0]}'; rename one")


def _row(path: Path, line: int, header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        mismatch = f"{len(cells)} cells where the header has {len(header)}"
        raise DataError(f"{path}: line {line}: {mismatch}; put quotes around values with commas or newlines")
    return dict(zip(header, cells, strict=True))
