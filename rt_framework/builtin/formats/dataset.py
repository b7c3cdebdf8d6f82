"""The format of data set directories of the Hugging Face ``datasets`` library, as ``save_to_disk`` writes them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rt_framework.builtin.formats.text import reading
from rt_framework.errors import DataError
from rt_framework.protocols import Write

# The datasets library takes a second to import, and an instance of every format is made to detect a file's format. So
# it is imported only in the functions that use it.

_MARKS = ("dataset_info.json", "state.json", "dataset_dict.json")


class DatasetFormat:
    """Format of a saved ``Dataset``, read and written in batches. The columns that it has keep their types."""

    suffixes: Sequence[str] = ()

    def detect(self, path: Path) -> bool:
        """Return whether the path is a directory with the files that ``save_to_disk`` leaves."""
        return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """Yield the rows, one at a time, as stored: images and audio are not decoded.

        Raises:
            DataError: the directory cannot be read, holds several splits, or has a value that Python cannot represent.
        """
        from rt_framework.builtin.formats.arrow import BATCH_ROWS, to_rows

        with reading(path):
            try:
                yield from to_rows(_load(path).with_format("arrow").iter(batch_size=BATCH_ROWS))
            except DataError as error:
                raise error if str(error).startswith(f"{path}: ") else DataError(f"{path}: {error}") from None

    def schema(self, path: Path) -> Any:
        """Return the columns, with the further metadata of ``datasets`` such as the names of classes.

        Raises:
            DataError: as :meth:`read`.
        """
        with reading(path):
            return _load(path).features.arrow_schema

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a directory with the union of all columns; without rows there is one column, ``empty``.

        The rows are held in memory, as Arrow, until the last row determines the types of the columns.

        Raises:
            DataError: a column holds values without a common type, or of a type that ``datasets`` lacks.
        """
        import pyarrow as pa

        from rt_framework.builtin.formats.arrow import to_table

        table = to_table(rows)
        # The datasets library saves a table without columns, but then cannot load it.
        _save(path, table if table.num_columns else pa.table({"empty": pa.nulls(0)}))

    def prepare(self, rows: Iterable[Mapping[str, Any]], texts: Collection[str], schema: Any) -> Write:
        """Determine the types of all columns, from *schema* or else from the values, and return the writing function.

        Raises:
            DataError: as :meth:`write`; names row and column.
        """
        from rt_framework.builtin.formats.arrow import settle, without_categories

        def attempt(table: Any) -> None:
            with tempfile.TemporaryDirectory(prefix="rt-check-") as folder:
                _save(Path(folder) / "rows", table, "rt-check")
                _load(Path(folder) / "rows")

        known = schema and without_categories(schema)  # datasets does not store categories as Arrow does
        return partial(_write_rows, settle(rows, texts, known, attempt))


def _write_rows(schema: Any, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write batch by batch to an Arrow file, which ``datasets`` then copies without loading it into memory."""
    import pyarrow as pa

    from rt_framework.builtin.formats.arrow import to_batches

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".arrow-") as folder:
        file = Path(folder) / "rows.arrow"
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
            for batch in to_batches(rows, schema):
                out.write_batch(batch)
        with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
            # Without a fingerprint datasets computes one by loading the whole table into memory.
            with file.open("rb") as written:
                fingerprint = hashlib.file_digest(written, "sha256").hexdigest()[:16]
            _save(path, stream.read_all(), fingerprint)


def _save(path: Path, table: Any, fingerprint: str | None = None) -> None:
    import datasets

    datasets.disable_progress_bars()
    with _fitting():
        found = datasets.Dataset(table, fingerprint=fingerprint)
        found.save_to_disk(path, num_shards=None if table.num_rows else 1)


@contextmanager
def _fitting() -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, NotImplementedError, KeyError, RecursionError) as error:
        raise DataError(f"does not fit a data set: {error}; remove it, or write jsonl") from error


def _load(path: Path) -> Any:
    """Return the data set that is saved at *path*."""
    import datasets

    try:
        found = datasets.load_from_disk(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no saved data set; save one with save_to_disk, or set data.format") from None
    except OSError:
        raise
    except Exception as error:  # broken metadata can end in almost any exception in datasets
        problem = f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: broken data set: {problem}; save it again with save_to_disk") from None
    if isinstance(found, datasets.DatasetDict):
        splits = ", ".join(found) or "none"
        raise DataError(f"{path}: is a set of splits ({splits}); give the path of one of them, {path}/SPLIT")
    return found
