"""What a format promises, and what it may offer besides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


class Format(Protocol):
    """A container of rows: a file, or a directory. What the columns mean is the shape's affair."""

    suffixes: Sequence[str]
    """File name endings, the usual one first; empty for a directory."""

    def detect(self, path: Path) -> bool:
        """Whether *path* looks like this format. Cheap."""

    def read(self, path: Path) -> Iterator[Mapping[str, Any]]:
        """The rows, one at a time.

        Raises:
            DataError: naming file, record and the way out.
        """

    def write(self, path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write all rows to a new file or directory.

        Raises:
            DataError: the format cannot hold a row; names row (from 0), column and the way out.
        """


Write = Callable[[Path, Iterable[Mapping[str, Any]]], None]
"""Writes rows to a new file or directory, as :meth:`Format.write` does."""


@runtime_checkable
class PreparingFormat(Protocol):
    """A format that can tell whether it will hold rows without writing them.

    It offers this besides what :class:`Format` does. Without it core writes all rows to a temporary file, before
    anything is paid for, and removes it.
    """

    def prepare(self, rows: Iterable[Mapping[str, Any]], texts: Collection[str], schema: Any) -> Write:
        """Check that the rows can be written, and give the function that will write some of them.

        Args:
            rows: every row that may be written, one at a time, as it is before the work.
            texts: columns whose texts may be others by then; no other column changes.
            schema: the ``pyarrow.Schema`` of the input, where the format that reads it is a :class:`TypedFormat`; else
                ``None``. Columns of *rows* that it names hold values of its types.

        Raises:
            DataError: the format cannot hold a row; names row (from 0), column and the way out.
        """


@runtime_checkable
class TypedFormat(Protocol):
    """A format whose columns have types. It offers this besides what :class:`Format` does, so that they are kept."""

    def schema(self, path: Path) -> Any:
        """The columns of what is at *path* as a ``pyarrow.Schema``.

        Raises:
            DataError: as :meth:`Format.read`.
        """
