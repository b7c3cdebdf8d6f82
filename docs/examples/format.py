"""A format: tab-separated values with a header row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rt_framework import hookimpl
from rt_framework.errors import DataError
from rt_framework.hookspecs import Register


class TsvFormat:
    """Every value is read as text. All rows are held in memory while they are written."""

    suffixes: Sequence[str] = (".tsv",)

    def detect(self, path: Path) -> bool:
        """Decide by the name alone, which is cheap; no other format accepts this name."""
        return path.is_file() and path.name.lower().endswith(".tsv")

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """Yield the rows, one at a time."""
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file, dialect="excel-tab", strict=True)
                for row in rows:
                    if None in row or None in row.values():
                        raise DataError(f"{path}: line {rows.line_num}: not as many cells as the header has")
                    yield row
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the union of all columns; a value that is not text is written as JSON."""
        held = list(rows)
        columns = dict.fromkeys(column for row in held for column in row)
        try:
            self._write(path, held, columns)
        except UnicodeEncodeError as error:
            raise DataError(f"{path}: a text holds half a character, which UTF-8 cannot: {error}") from error

    def _write(self, path: Path, held: list[Mapping[str, Any]], columns: Iterable[str]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, dialect="excel-tab")
            out.writerow(columns)
            out.writerows([_cell(row.get(column)) for column in columns] for row in held)


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


@hookimpl
def rt_register_formats(register: Register) -> None:
    """Offer ``tsv``."""
    register("tsv", "format:TsvFormat", help="tab-separated values with a header")
