"""The protocol of a format, and its optional extensions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable


class Format(Protocol):
    """A container of rows: a file, or a directory. The meaning of the columns is decided elsewhere, by the shape."""

    suffixes: Sequence[str]
    """File name endings, the usual one first; empty for a directory."""

    def detect(self, path: Path) -> bool:
        """Return whether *path* looks like this format. Cheap."""

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """Yield the rows, one at a time.

        Raises:
            DataError: the rows cannot be read; names file, record and the way out.
        """

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write all rows to a new file or directory.

        Raises:
            DataError: the format cannot hold a row; names row (from 0), column and the way out.
        """


Write = Callable[[Path, Iterable[Mapping[str, Any]]], None]
"""Function that writes rows to a new file or directory, as :meth:`Format.write` does."""


@runtime_checkable
class PreparingFormat(Protocol):
    """A format that can tell, without writing them, whether it can hold given rows.

    The extension is optional. Without it core writes all rows to a temporary file before anything is paid for, and
    removes the file again.
    """

    def prepare(self, rows: Iterable[Mapping[str, Any]], texts: Collection[str], schema: Any) -> Write:
        """Check that the rows can be written, and return the function that will write some of them.

        Args:
            rows: every row that may be written, one at a time, as it is before the run.
            texts: columns whose texts may have changed when they are written; no other column changes.
            schema: the ``pyarrow.Schema`` of the input, where the format that reads it is a :class:`TypedFormat`; else
                ``None``. Columns of *rows* that the schema names hold values of its types.

        Raises:
            DataError: the format cannot hold a row; names row (from 0), column and the way out.
        """


@runtime_checkable
class StreamedFormat(Protocol):
    """A format of one file that is read from its first byte to its last. The extension is optional.

    Core takes the hash of the input from the bytes as they are read. Without the extension it reads the file once more
    for each hash, at the beginning and at the end of a run.
    """

    def read_with(self, path: Path, opener: Callable[[Path], BinaryIO]) -> Iterator[Mapping[str, Any]]:
        """Yield the rows as :meth:`Format.read` does, from the file that *opener* opens, to its end and in order.

        Args:
            path: the file, for the messages of errors.
            opener: opens the file to read bytes, and may raise what :func:`open` raises; the file cannot be sought.

        Raises:
            DataError: as :meth:`Format.read`.
        """


@runtime_checkable
class TypedFormat(Protocol):
    """A format whose columns have types, which are kept in the output. The extension is optional."""

    def schema(self, path: Path) -> Any:
        """Return the columns of the file or directory at *path* as a ``pyarrow.Schema``.

        Raises:
            DataError: as :meth:`Format.read`.
        """
