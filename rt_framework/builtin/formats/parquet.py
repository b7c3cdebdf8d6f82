"""The format of Parquet files, with nested columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rt_framework.builtin.formats.text import has_suffix, reading
from rt_framework.errors import DataError
from rt_framework.protocols import Write

# pyarrow is imported only where it is used, since an instance of every format is made to detect a file's format.

_GROUP_BYTES = 64 * 2**20
"""Bytes of Arrow data that are held in memory before they are written as a row group."""


class ParquetFormat:
    """Format of a Parquet file, read and written in batches. The columns that a file has keep their types."""

    suffixes: Sequence[str] = (".parquet",)

    def detect(self, path: Path) -> bool:
        """Return whether the path is a file with the suffix of this format."""
        return path.is_file() and has_suffix(path, self.suffixes)

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """Yield the rows, one at a time; nested columns are lists and dicts.

        Raises:
            DataError: the file cannot be read, is broken, or has a value that Python cannot represent.
        """
        from rt_framework.builtin.formats.arrow import BATCH_ROWS, to_rows

        with _opened(path) as file:
            try:
                yield from to_rows(file.iter_batches(batch_size=BATCH_ROWS))
            except DataError as error:
                raise DataError(f"{path}: {error}") from None

    def schema(self, path: Path) -> Any:
        """Return the columns of the file.

        Raises:
            DataError: as :meth:`read`.
        """
        with _opened(path) as file:
            return file.schema_arrow

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the union of all columns, held in memory, as Arrow, until the last row determines their types.

        Raises:
            DataError: a column holds values without a common type, or of a type that Parquet lacks.
        """
        from rt_framework.builtin.formats.arrow import to_table

        table = to_table(rows)
        _write(path, table.to_batches(), table.schema)

    def prepare(self, rows: Iterable[Mapping[str, Any]], texts: Collection[str], schema: Any) -> Write:
        """Determine the types of all columns, from *schema* or else from the values, and return the writing function.

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
            except (OSError, pa.ArrowException) as error:  # for example because it is nested too deeply
                raise DataError(f"cannot be read again from Parquet: {error}; remove it, or write jsonl") from error

        return partial(_write_rows, settle(rows, texts, schema, attempt))


def _write_rows(schema: Any, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    from rt_framework.builtin.formats.arrow import to_batches

    _write(path, to_batches(rows, schema), schema)


def _write(place: Any, batches: Iterable[Any], schema: Any) -> None:
    """Write batches to a path or stream, in row groups of about :data:`_GROUP_BYTES`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetWriter(place, schema) as writer:
            group: list[Any] = []
            for batch in batches:
                group.append(batch)
                if sum(member.nbytes for member in group) >= _GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(group, schema))
                    group = []
            if group:
                writer.write_table(pa.Table.from_batches(group, schema))
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
