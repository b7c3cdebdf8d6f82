"""The connection of a ledger, which its tables share: all rows pass through it, so damage always raises one error."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cattrs

from rt_framework.errors import DataError, DiskError
from rt_framework.ledger.damage import UNREADABLE, damaged, fault, look_through, reading
from rt_framework.ledger.known_keys import KnownKeys
from rt_framework.ledger.schema import VERSION, version_of
from rt_framework.ledger.statements import RowIds, Statement
from rt_framework.ledger.writer import Writer

T = TypeVar("T")

_MOST_KEYS = 500
"""Most keys in one query: every build of SQLite accepts 999 values."""


class Database:
    """A read-only connection to a ledger, and the thread that writes to it.

    Args:
        path: the file.
        writer: writer of the same file; ``None`` to read only.

    Raises:
        DataError: the file is not a ledger of this version.
        DiskError: the file is damaged. Every method that reads raises this too.
    """

    def __init__(self, path: Path, writer: Writer | None) -> None:
        self.path = path
        self._writer = writer
        self._known: dict[str, KnownKeys] = {}
        self._sound = True  # until damage is found in the file
        try:
            self._db = reading(path)
            version = version_of(self._db)
        except UNREADABLE as error:
            raise fault(path, error) from error
        if version != VERSION:
            remedy = "use the release that wrote it" if version > VERSION else "'rt run' brings it up to date"
            raise DataError(f"{path}: a ledger of version {version}, not {VERSION}; {remedy}")

    # --- reading ----------------------------------------------------------------------------

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield the rows of a query. Exhaust or close the iterator soon: until then SQLite's log cannot shrink."""
        # SQLite may find damage at any row, so the loop is inside the try block too.
        try:
            yield from self._db.execute(sql, values)
        except sqlite3.ProgrammingError:  # a bug in this program, not damage of the file
            raise
        except UNREADABLE as error:
            self._sound = False
            raise fault(self.path, error) from error

    def first(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Return the first row of a query, or ``None``."""
        return next(self.rows(sql, values), None)

    def among(self, sql: str, keys: Sequence[str]) -> Iterator[Any]:
        """Yield the rows of a query for any number of keys, split into as many queries as needed.

        Args:
            sql: the query, with ``{marks}`` in place of the keys.
            keys: the keys.
        """
        for start in range(0, len(keys), _MOST_KEYS):
            some = keys[start : start + _MOST_KEYS]
            yield from self.rows(sql.format(marks=",".join("?" * len(some))), some)

    def possible_keys(self, what: str, keys: Iterable[str]) -> list[str]:
        """Return those of *keys* that a loss or call may have; the others are surely not there."""
        if self._writer is None:  # another process may write to it at any time
            return list(keys)
        return self._known_of(what).among(keys)

    def expect(self, what: str, keys: Iterable[str]) -> None:
        """Take note of keys of losses or calls that are about to be written."""
        # Before the commit: a key that is known too early is not found yet, one that is not known never is.
        self._known_of(what).add(keys)

    def parsed(self, text: Any, cls: type[T], what: str, key: str) -> T:
        """Return a JSON text as an object of *cls*; the error for an invalid text names *what* it is and its *key*."""
        try:
            value = json.loads(text)
            return value if cls is object else cattrs.structure(value, cls)
        except Exception as error:  # a damaged text may raise any kind of error
            raise self.unreadable(what, key) from error

    def unreadable(self, what: str, key: str) -> DiskError:
        """Return the error for a damaged value, and remember that the file is damaged."""
        return self._damaged(f"{what} {key} cannot be read")

    def check(self) -> None:
        """Check that the file is still in place, and look through the whole of it for damage.

        Raises:
            DiskError: the file is damaged, or was moved or replaced.
        """
        if self._writer is not None:
            self._writer.check_held()
        try:
            damage = look_through(self._db)
        except UNREADABLE as error:
            self._sound = False
            raise fault(self.path, error) from error
        if damage is not None:
            raise self._damaged(damage)

    def _damaged(self, what: str) -> DiskError:
        self._sound = False
        return damaged(self.path, what)

    def _known_of(self, table: str) -> KnownKeys:
        """Return the keys of a table: those in the file, read before the first write to it, and those written since."""
        if table not in self._known:
            known = KnownKeys()
            known.add(key for (key,) in self.rows(f"SELECT key FROM {table}"))  # noqa: S608 - our own names
            self._known[table] = known
        return self._known[table]

    # --- writing ----------------------------------------------------------------------------

    async def write(self, statements: Sequence[Statement]) -> RowIds:
        """Commit all *statements* or none, and return the id of the row that each of them inserted.

        Raises:
            DiskError: the statements could not be written.
        """
        if self._writer is None:
            raise DiskError(f"{self.path}: opened for reading only")
        if not statements:
            return {}
        return await self._writer.put(statements)

    def flush(self, seconds: float) -> None:
        """Wait until all pending writes are committed, *seconds* at most. May be called from a signal handler."""
        if self._writer is not None:
            self._writer.flush(seconds)

    def close(self) -> None:
        """Commit all pending writes and close the file."""
        # The reading connection is closed first: an open reader keeps the log from being written back completely.
        self._db.close()
        if self._writer is not None:
            self._writer.close(self._sound)
