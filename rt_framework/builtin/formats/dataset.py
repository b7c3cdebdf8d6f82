"""A data set directory of the Hugging Face ``datasets`` library, as its ``save_to_disk`` writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rt_framework.builtin.formats.text import reading
from rt_framework.errors import DataError

# datasets takes a second to import and is imported on use: to detect a format, all of them are made.

_MARKS = ("dataset_info.json", "state.json", "dataset_dict.json")


class DatasetFormat:
    """A saved ``Dataset``, read in batches. It is held in memory, as Arrow, while it is written."""

    suffixes: Sequence[str] = ()

    def detect(self, path: Path) -> bool:
        """A directory with the files that ``save_to_disk`` leaves."""
        return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """The rows, one at a time, as stored: images and audio are not decoded.

        Raises:
            DataError: the directory cannot be read, or holds several splits.
        """
        from rt_framework.builtin.formats.arrow import BATCH_ROWS

        with reading(path):
            for batch in _load(path).with_format("arrow").iter(batch_size=BATCH_ROWS):
                yield from batch.to_pylist()

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a directory with the union of all columns; without rows there is one column, ``empty``.

        Raises:
            DataError: a column holds values without a common type, or of a type that ``datasets`` lacks.
        """
        import datasets
        import pyarrow as pa

        from rt_framework.builtin.formats.arrow import to_table

        table = to_table(rows)
        if not table.num_columns:
            # datasets saves a table without columns, and then cannot load it.
            table = pa.table({"empty": pa.nulls(0)})
        datasets.disable_progress_bars()
        try:
            datasets.Dataset(table).save_to_disk(path, num_shards=None if table.num_rows else 1)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise DataError(f"the columns do not fit a data set: {error}; write jsonl") from error


def _load(path: Path) -> Any:
    """The one data set at *path*."""
    import datasets

    try:
        found = datasets.load_from_disk(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no saved data set; save one with save_to_disk, or set data.format") from None
    except OSError:
        raise
    except Exception as error:  # broken metadata ends in almost any exception there
        problem = f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: broken data set: {problem}; save it again with save_to_disk") from None
    if isinstance(found, datasets.DatasetDict):
        splits = ", ".join(found) or "none"
        raise DataError(f"{path}: is a set of splits ({splits}); give the path of one of them, {path}/SPLIT")
    return found
