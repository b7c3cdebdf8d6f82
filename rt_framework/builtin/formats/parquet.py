"""Parquet, with nested columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rt_framework.builtin.formats.text import has_suffix, reading
from rt_framework.errors import DataError
from rt_framework.protocols import Write

# pyarrow is imported on use: to detect a format, all of them are made.

_GROUP_BYTES = 64 * 2**20
"""Of Arrow, after which a row group is written: it is what is held in memory."""


class ParquetFormat:
    """A Parquet file, read and written in batches. The columns that a file has keep their types."""

    suffixes: Sequence[str] = (".parquet",)

    def detect(self, path: Path) -> bool:
        """By name."""
        return path.is_file() and has_suffix(path, self.suffixes)

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """The rows, one at a time; nested columns are lists and dicts.

        Raises:
            DataError: the file cannot be read, is broken, or holds what Python has no value for.
        """
        from rt_framework.builtin.formats.arrow import BATCH_ROWS, to_rows

        with _opened(path) as file:
            try:
                yield from to_rows(file.iter_batches(batch_size=BATCH_ROWS))
            except DataError as error:
                raise DataError(f"{path}: {error}") from None

    def schema(self, path: Path) -> Any:
        """Its columns.

        Raises:
            DataError: as :meth:`read`.
        """
        with _opened(path) as file:
            return file.schema_arrow

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the union of all columns; they are held in memory, as Arrow, until the last row settles their types.

        Raises:
            DataError: a column holds values without a common type, or of a type that Parquet lacks.
        """
        from rt_framework.builtin.formats.arrow import to_table

        table = to_table(rows)
        _write(path, table.to_batches(), table.schema)

    def prepare(self, rows: Iterable[Mapping[str, Any]], texts: Collection[str], schema: Any) -> Write:
        """Settle the types of all columns: those of *schema*, else what the values are.

        Raises:
            DataError: as :meth:`write`; names row and column.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        from rt_framework.builtin.formats.arrow import settle

        def attempt(table: Any) -> None:
            _write(sink := pa.BufferOutputStream(), table.to_batches(), table.schema)
            try:
                pq.ParquetFile(pa.BufferReader(sink.getvalue())).read()
            except (OSError, pa.ArrowException) as error:  # nested too deeply, for one
                raise DataError(f"cannot be read again from Parquet: {error}; remove it, or write jsonl") from error

        return partial(_write_rows, settle(rows, texts, schema, attempt))


def _write_rows(schema: Any, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    from rt_framework.builtin.formats.arrow import to_batches

    _write(path, to_batches(rows, schema), schema)


def _write(place: Any, batches: Iterable[Any], schema: Any) -> None:
    """Write batches to a path or stream, in row groups of a sensible size."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetWriter(place, schema) as writer:
            held: list[Any] = []
            for batch in batches:
                held.append(batch)
                if sum(one.nbytes for one in held) >= _GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(held, schema))
                    held = []
            if held:
                writer.write_table(pa.Table.from_batches(held, schema))
    except pa.ArrowException as error:
        raise DataError(f"does not fit Parquet: {error}; remove it, or write jsonl") from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with reading(path), path.open("rb") as raw, pq.ParquetFile(raw) as file:
            yield file
    except pa.ArrowException as error:
        raise DataError(f"{path}: broken Parquet: {error}; write it again, or set data.format") from None
