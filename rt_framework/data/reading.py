"""Readings of a data file, which take its hash on the way where its format allows that."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from rt_framework.data.rows import begin_rows
from rt_framework.data.values import RawRow
from rt_framework.errors import DataError, RtError, described
from rt_framework.protocols import Format, StreamedFormat


class Reader:
    """Reader of the rows of one file or directory, any number of times.

    The reading that gave the first row is not wasted: the first reading of all rows goes on with it.
    """

    def __init__(self, path: Path, form: Format) -> None:
        self._path = path
        self._form = form
        self._begun: tuple[object, Iterator[RawRow]] | None = None
        self._hashed: tuple[object, str] | None = None

    @property
    def hashes(self) -> bool:
        """True if a reading to the end of the file also computes the hash of its content."""
        return isinstance(self._form, StreamedFormat) and not self._path.is_dir()

    def first_row(self) -> RawRow:
        """Return the first row.

        Raises:
            DataError: the file cannot be read, or has no records.
        """
        state = _state(self._path)  # taken before the file is opened, so that no change is missed
        row, rows = begin_rows(self._path, self._read(state))
        self._begun = state, rows
        return row

    def rows(self) -> Iterator[RawRow]:
        """Return an iterator over all rows.

        Raises:
            DataError: the file cannot be read, or has no records.
        """
        begun, self._begun = self._begun, None
        state = _state(self._path)
        if begun is not None and state and begun[0] == state:
            return begun[1]
        return begin_rows(self._path, self._read(state))[1]

    def _read(self, state: object) -> Iterator[Mapping[str, Any]]:
        self._hashed = None
        if not self.hashes or not isinstance(self._form, StreamedFormat):
            return _blamed(self._path, partial(self._form.read, self._path))
        opener = partial(_open_hashed, told=partial(self._remember, state))
        return _blamed(self._path, partial(self._form.read_with, self._path, opener))

    def _remember(self, state: object, digest: bytes) -> None:
        self._hashed = state, _content([(self._path.name, digest)])

    def content_read(self) -> str | None:
        """Return the hash of the bytes that the last reading has read; ``None`` if it did not come to their end."""
        return None if self._hashed is None else self._hashed[1]

    def content(self) -> str:
        """Return the hash of name and content of the file, or of every file in the directory, as it is now.

        The bytes are not read again for it if nothing has changed since a reading has read them to their end.

        Raises:
            OSError: a file cannot be read.
        """
        if self._hashed is not None and self._hashed[0] and self._hashed[0] == _state(self._path):
            return self._hashed[1]
        folder = self._path if self._path.is_dir() else self._path.parent
        parts = []
        for path in files_at(self._path):
            with path.open("rb") as file:
                parts.append((path.relative_to(folder), hashlib.file_digest(file, "sha256").digest()))
        return _content(parts)


def _blamed(path: Path, read: Callable[[], Iterator[RawRow]]) -> Iterator[RawRow]:
    """Yield the rows of a file; an exception of the format, which should have been a data error, becomes one."""
    try:
        yield from read()
    except RtError:
        raise
    except Exception as error:
        raise DataError(f"{path}: cannot be read: {described(error)}") from error


def files_at(path: Path) -> list[Path]:
    """Return a file itself, or all files of a directory in a fixed order."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _state(path: Path) -> tuple[tuple[int, ...], ...]:
    """Return facts of the file system that change with the contents of the files; empty if they cannot be known."""
    with suppress(OSError):
        found = [file.stat() for file in files_at(path)]
        return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in found)
    return ()


def _content(parts: Sequence[tuple[str | Path, bytes]]) -> str:
    """Return the hash of files, each given by its name and the hash of its bytes."""
    whole = hashlib.sha256()
    for name, digest in parts:
        whole.update(os.fsencode(name))  # a file name need not be valid text
        whole.update(digest)
    return whole.hexdigest()


class _HashedFile(io.RawIOBase):
    """A file whose bytes are hashed as they are read; the hash is told when the end is reached."""

    def __init__(self, file: io.FileIO, told: Callable[[bytes], None]) -> None:
        self._file = file
        self._told = told
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read some bytes into *buffer* and return their number, 0 at the end."""
        count = self._file.readinto(buffer)
        if count:
            self._hash.update(memoryview(buffer)[:count])
        else:
            self._told(self._hash.digest())
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _open_hashed(path: Path, told: Callable[[bytes], None]) -> BinaryIO:
    """Open a file to read its bytes, which are hashed as they are read."""
    return io.BufferedReader(_HashedFile(io.FileIO(path), told), 2**18)
