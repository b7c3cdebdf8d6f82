"""Text files whose name ends with ``.gz``: unpacked as they are read, and packed as they are written."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from rt_framework.errors import DataError

# A small file can unpack to more than any memory holds.
MOST_BYTES = 2**28
"""Most bytes of one line, or of one cell."""

_MOST_OF_TEXT = 2**30
"""Most bytes of a file that is held in memory as one text."""


def is_packed(path: Path) -> bool:
    """Return whether the name of a file says that it is packed."""
    return path.name.lower().endswith(".gz")


def packed(*suffixes: str) -> tuple[str, ...]:
    """Return file name endings, followed by the same endings of packed files."""
    return (*suffixes, *(f"{suffix}.gz" for suffix in suffixes))


@contextmanager
def created(path: Path, errors: str = "strict", newline: str = "\n") -> Iterator[TextIO]:
    """Create a text file, packed if its name says so. Equal texts give equal bytes: no name and no time is packed."""
    with ExitStack() as stack:
        file: Any = stack.enter_context(path.open("wb"))
        if is_packed(path):
            file = stack.enter_context(gzip.GzipFile("", "wb", 6, file, mtime=0))
        yield stack.enter_context(io.TextIOWrapper(file, "utf-8", errors, newline))


class Unpacked(io.RawIOBase):
    """The content of a packed file, which may have several members.

    Args:
        path: the file, for messages.
        file: its bytes; need not be seekable.
        lines: true if the file is read line by line; false if it is held in memory as one text.
    """

    def __init__(self, path: Path, file: BinaryIO, lines: bool) -> None:
        self._path = path
        self._file = gzip.GzipFile(fileobj=file, mode="rb")
        self._most = MOST_BYTES if lines else _MOST_OF_TEXT
        self._lines = lines
        self._line = 1
        self._length = 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpack some bytes into *buffer* and return their number, 0 at the end.

        Raises:
            DataError: the file is cut off or damaged, or a record is too large; names the line.
        """
        try:
            data = self._file.read1(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(
                f"{self._path}: line {self._line}: broken gzip data: {error}; pack the file again, or take '.gz' from "
                "its name if it is not packed"
            ) from None
        buffer[: len(data)] = data
        self._count(data)
        return len(data)

    def _count(self, data: bytes) -> None:
        ended = data.count(b"\n")
        self._line += ended
        self._length = len(data) - data.rfind(b"\n") - 1 if ended and self._lines else self._length + len(data)
        if self._length > self._most:
            what = f"line {self._line}: is" if self._lines else "is"
            raise DataError(
                f"{self._path}: {what} longer than {self._most:,} bytes when unpacked; "
                + ("correct or remove it" if self._lines else "unpack the file first, or write jsonl")
            )
