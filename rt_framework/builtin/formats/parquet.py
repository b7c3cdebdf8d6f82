"""Parquet, with nested columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rt_framework.builtin.formats.text import has_suffix, reading
from rt_framework.errors import DataError

# pyarrow is imported on use: to detect a format, all of them are made.


class ParquetFormat:
    """A Parquet file, read in batches. It is held in memory, as Arrow, while it is written."""

    suffixes: Sequence[str] = (".parquet",)

    def detect(self, path: Path) -> bool:
        """By name."""
        return path.is_file() and has_suffix(path, self.suffixes)

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """The rows, one at a time; nested columns are lists and dicts.

        Raises:
            DataError: the file cannot be read or is broken.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from rt_framework.builtin.formats.arrow import BATCH_ROWS

        try:
            with reading(path), path.open("rb") as raw, pq.ParquetFile(raw) as file:
                for batch in file.iter_batches(batch_size=BATCH_ROWS):
                    yield from batch.to_pylist()
        except pa.ArrowException as error:
            raise DataError(f"{path}: broken Parquet: {error}; write it again, or set data.format") from None

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the union of all columns.

        Raises:
            DataError: a column holds values without a common type, or of a type that Parquet lacks.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from rt_framework.builtin.formats.arrow import to_table

        table = to_table(rows)
        try:
            pq.write_table(table, path)
        except pa.ArrowException as error:
            raise DataError(f"the columns do not fit Parquet: {error}; write jsonl") from error
