"""Readings of data files, which take their hash on the way where their format allows that."""

from __future__ import annotations

import hashlib
import io
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from rt_framework.data.files import Files
from rt_framework.data.rows import begin_rows
from rt_framework.data.shapes import fitting_shapes
from rt_framework.data.values import RawRow
from rt_framework.errors import DataError, RtError, described
from rt_framework.model import Record
from rt_framework.protocols import Format, StreamedFormat, TypedFormat


class Reader(Protocol):
    """Reader of the rows of a data set, any number of times."""

    @property
    def name(self) -> str:
        """Name of the data set in messages."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files and folders that are read, which nothing may be written over or into."""

    @property
    def facts(self) -> Mapping[str, str]:
        """Further facts about where the rows come from, which must not change in a run directory."""

    @property
    def hashes(self) -> bool:
        """True if a reading to the end also computes the hash of the content."""

    def first_row(self) -> RawRow | Record:
        """Return the first row.

        Raises:
            DataError: the rows cannot be read, or there are none.
        """

    def rows(self) -> Iterator[RawRow | Record]:
        """Return an iterator over all rows.

        Raises:
            DataError: the rows cannot be read, or there are none.
        """

    def place(self, number: int) -> str:
        """Return where the row with this number is, for a message about it. Called while the row is read."""

    def content_read(self) -> str | None:
        """Return the hash of what the last reading has read; ``None`` if it did not come to the end."""

    def content(self) -> str:
        """Return the hash of the content as it is now.

        Raises:
            OSError: a file cannot be read.
        """

    def schema(self) -> Any:
        """Return the columns as a ``pyarrow.Schema``; ``None`` where they have no types.

        Raises:
            DataError: the rows cannot be read.
        """

    def size(self) -> int:
        """Return the bytes of the data set."""


def telling_row(reader: Reader, columns: Mapping[str, str], drop: bool) -> RawRow | Record:
    """Return the row by which the shape of a data set is found: the first one, or the first that fits a shape.

    Args:
        reader: reads the rows.
        columns: the user's name of each column that is not named as its field.
        drop: whether rows that cannot be read are left out, so that the first row need not be one that can be read.

    Raises:
        DataError: the rows cannot be read, or there are none.
    """
    first = reader.first_row()
    if not drop or isinstance(first, Record) or fitting_shapes(first, columns):
        return first
    return next((row for row in reader.rows() if isinstance(row, Record) or fitting_shapes(row, columns)), first)


class FileReader:
    """Reader of the rows of files of one format. Several files are read one after the other.

    The reading that gave the first row is not wasted: the first reading of all rows goes on with it.
    """

    def __init__(self, files: Files, form: Format) -> None:
        self._files = files
        self._form = form
        self._begun: tuple[object, Iterator[RawRow]] | None = None
        self._hashed: tuple[object, str] | None = None
        self._starts: list[tuple[int, str]] = []
        """Number of the first row of each file that the last reading has opened, and the file."""

    @property
    def name(self) -> str:
        """The name of the data set."""
        return self._files.name

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The file or folder."""
        return self._files.inputs

    @property
    def facts(self) -> Mapping[str, str]:
        """The facts about where the files come from."""
        return self._files.facts

    @property
    def hashes(self) -> bool:
        """True if a reading to the end of the files also computes the hash of their content."""
        return isinstance(self._form, StreamedFormat) and self._files.hashed

    def first_row(self) -> RawRow:
        """Return the first row.

        Raises:
            DataError: a file cannot be read, or there are no records.
        """
        state = self._state()  # taken before the file is opened, so that no change is missed
        row, rows = begin_rows(self.name, self._read(state))
        self._begun = state, rows
        return row

    def rows(self) -> Iterator[RawRow]:
        """Return an iterator over all rows.

        Raises:
            DataError: a file cannot be read, or there are no records.
        """
        begun, self._begun = self._begun, None
        state = self._state()
        if begun is not None and state and begun[0] == state:
            return begun[1]
        return begin_rows(self.name, self._read(state))[1]

    def _read(self, state: object) -> Iterator[RawRow]:
        self._hashed, self._starts = None, []
        digests: dict[str, bytes] = {}
        number = 0
        for path in self._files:
            if self._starts:
                self._check_columns(path)
            self._starts.append((number, self._files.label(path)))
            for row in self._rows_of(path, digests, state):
                number += 1
                yield row

    def _rows_of(self, path: Path, digests: dict[str, bytes], state: object) -> Iterator[RawRow]:
        """Yield the rows of one file; an exception of the format, which should be a data error, becomes one."""
        try:
            yield from self._read_file(path, digests, state)
        except RtError:
            raise
        except Exception as error:
            raise DataError(f"{path}: cannot be read: {described(error)}") from error

    def _read_file(self, path: Path, digests: dict[str, bytes], state: object) -> Iterable[RawRow]:
        """Return the rows of one file. The hash of all files is remembered when the end of the last one is reached."""
        if not self.hashes or not isinstance(self._form, StreamedFormat):
            return self._form.read(path)

        def remember(digest: bytes) -> None:
            digests[self._files.label(path)] = digest
            if len(digests) == len(self._files.stored()):
                self._hashed = state, _content(digests.items())

        return self._form.read_with(path, partial(_open_hashed, told=remember))

    def _check_columns(self, path: Path) -> None:
        """Check that a file has the columns of the first one.

        Raises:
            DataError: a column is missing, or has another type; the message names both files and the column.
        """
        if not isinstance(self._form, TypedFormat):
            return
        first = next(iter(self._files))
        expected, actual = (_kinds(self._form.schema(file)) for file in (first, path))
        column = next((name for name in (*expected, *actual) if expected.get(name) != actual.get(name)), None)
        if column is not None:
            raise DataError(
                f"{self.name}: column '{column}' is {expected.get(column, 'missing')} in {self._files.label(first)} "
                f"and {actual.get(column, 'missing')} in {self._files.label(path)}; write both with the same columns"
            )

    def place(self, number: int) -> str:
        """Return where the row with this number is; of several files, the file too."""
        whole = f"{self.name}: row {number} (from 0)"
        if not self._files.several:
            return whole
        start, label = self._starts[bisect_right([first for first, _ in self._starts], number) - 1]
        return f"{whole}, row {number - start} of {label}"

    def content_read(self) -> str | None:
        """Return the hash of the bytes that the last reading has read; ``None`` if it did not come to their end."""
        return None if self._hashed is None else self._hashed[1]

    def content(self) -> str:
        """Return the hash of name and content of every file, as it is now.

        The bytes are not read again for it if nothing has changed since a reading has read them to their end.

        Raises:
            OSError: a file cannot be read.
        """
        if self._hashed is not None and self._hashed[0] and self._hashed[0] == self._state():
            return self._hashed[1]
        return _content(self._files.digests())

    def schema(self) -> Any:
        """Return the columns of the first file, if the format has types.

        Raises:
            DataError: the file cannot be read.
        """
        return self._form.schema(next(iter(self._files))) if isinstance(self._form, TypedFormat) else None

    def size(self) -> int:
        """Return the bytes of all files."""
        return self._files.size()

    def _state(self) -> tuple[tuple[int, ...], ...]:
        """Return facts of the file system that change with the files; empty if they cannot be known."""
        with suppress(OSError):
            found = [file.stat() for file in self._files.stored()]
            return tuple((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in found)
        return ()


def _kinds(schema: Any) -> dict[str, str]:
    """Return the type of each column in words."""
    return {field.name: f"{field.type}{'' if field.nullable else ' not null'}" for field in schema}


def _content(parts: Iterable[tuple[str, bytes]]) -> str:
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
