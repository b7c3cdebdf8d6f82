"""A list on disk, for values that are too many for memory."""

from __future__ import annotations

import pickle
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

from rt_framework.data.shapes import ReadRecord
from rt_framework.data.values import RawRow
from rt_framework.errors import DataError
from rt_framework.model import Record

T = TypeVar("T")

_PLAIN = (str, int, float, bool, type(None))


class Spool(Generic[T]):
    """A list in a temporary file: values are added at its end and read in any order, and eight bytes of each are held.

    Args:
        folder: folder of the temporary file; the system's when left out.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._ends = array("Q", [0])
        self._appending = True

    def __enter__(self) -> Spool[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the temporary file, which removes it."""
        self._file.close()

    def size(self) -> int:
        """Return the bytes of all values."""
        return self._ends[-1]

    def append(self, value: T) -> None:
        """Add a value at the end.

        Raises:
            OSError: the disk is full.
        """
        if not self._appending:
            self._file.seek(self._ends[-1])
            self._appending = True
        self._ends.append(self._ends[-1] + self._file.write(pickle.dumps(value, pickle.HIGHEST_PROTOCOL)))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, at: int) -> T:
        self._appending = False
        self._file.seek(self._ends[at])
        # The file has no name, so that no other process can have written to it.
        value: T = pickle.loads(self._file.read(self._ends[at + 1] - self._ends[at]))  # noqa: S301
        return value

    def __iter__(self) -> Iterator[T]:
        return (self[at] for at in range(len(self)))


def check_spoolable(number: int, record: RawRow | Record) -> None:
    """Check that a list on disk can hold a row, or a record and the row that it was read from.

    Raises:
        DataError: it cannot hold a value; the message names row (from 0) and column.
    """
    own = record.row if isinstance(record, ReadRecord) else record
    row = own.extra if isinstance(own, Record) else own
    for column, value in row.items():
        if not isinstance(value, _PLAIN):
            _check(f"row {number} (from 0): column '{column}' holds a value", value)
    if type(row) is not dict:
        _check(f"row {number} (from 0): is a mapping", row)


def _check(place: str, value: object) -> None:
    try:
        pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise DataError(
            f"{place} of type {type(value).__name__} that cannot be copied to a temporary file ({error}); let its "
            "format read plain values"
        ) from None
