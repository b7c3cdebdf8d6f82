"""The salvage of a damaged ledger: every readable row that was paid for or computed is copied into a new ledger."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import cattrs
from attrs import frozen

from rt_framework.errors import DiskError
from rt_framework.ledger.damage import UNREADABLE, fault, reading
from rt_framework.ledger.patterns import pattern_key, unpacked
from rt_framework.ledger.readable import READABLE, readable
from rt_framework.ledger.schema import lay_out, likeliest_version, prepare
from rt_framework.model import Reply, Request

_ROWS, _KEYS = 1 << 63, 1 << 64
"""Upper bounds of row numbers, and of the first 16 hexadecimal digits of keys read as a number."""

Row = Mapping[str, Any]


@frozen
class Salvaged:
    """The numbers of rows that were salvaged."""

    answers: int
    attempts: int
    losses: int


@frozen
class _Table:
    """A table, with a predicate for intact rows."""

    name: str
    whole: Callable[[Row], bool]


def _parses(text: Any, cls: Any) -> bool:
    try:
        cattrs.structure(json.loads(text), cls)
    except Exception:  # a damaged text may raise any kind of error
        return False
    return True


def _is_note(row: Row) -> bool:
    return row["key"] != "schema" and _parses(row["value"], object)


def _is_attempt(row: Row) -> bool:
    reply = row.get("reply")
    named = isinstance(row["call"], int | str | None)
    return named and isinstance(row["cost"], int) and (reply is None or _parses(reply, Reply))


def _is_loss(row: Row) -> bool:
    number = row["nll"] is None or isinstance(row["nll"], float)
    return number and isinstance(row["tokens"], int) and isinstance(row["status"], str)


class _Questions:
    """The check of calls, whose questions are packed by patterns."""

    def __init__(self) -> None:
        self._patterns: dict[str, bytes] = {}

    def is_pattern(self, row: Row) -> bool:
        """Return whether a pattern is whole, and remember it for the calls."""
        pattern = row["text"]
        if not isinstance(pattern, bytes) or row["key"] != pattern_key(pattern):
            return False
        self._patterns[row["key"]] = pattern
        return True

    def is_call(self, row: Row) -> bool:
        """Return whether the question of a call can be read, or its pattern alone is lost: the answers stay of use."""
        text, pattern = row["request"], row.get("pattern")
        if pattern is not None and pattern not in self._patterns:
            return True
        try:
            return _parses(text if pattern is None else unpacked(text, self._patterns[pattern]), Request)
        except (zlib.error, TypeError, ValueError):
            return False


def _tables() -> tuple[_Table, ...]:
    """Return the tables to copy; patterns come before the calls that need them."""
    questions = _Questions()
    return (
        _Table("meta", _is_note),
        _Table("batches", lambda row: isinstance(row["token"], str)),
        _Table("patterns", questions.is_pattern),
        _Table("calls", questions.is_call),
        _Table("attempts", _is_attempt),
        _Table("losses", _is_loss),
        _Table("token_losses", lambda row: isinstance(row["nll"], bytes) and isinstance(row["ranks"], bytes)),
        _Table("vectors", lambda row: isinstance(row["tokens"], int) and isinstance(row["vector"], bytes)),
    )


_LINKS = (
    # A call whose answer was lost must be asked again, so it must not point at a missing attempt.
    """
    UPDATE calls SET answer = NULL
    WHERE answer NOT IN (SELECT id FROM attempts WHERE reply IS NOT NULL AND call = calls.number)
    """,
    # An attempt whose call was lost counts as money spent, but must not be taken for one at a later call.
    "UPDATE attempts SET call = NULL WHERE call NOT IN (SELECT number FROM calls)",
)


def salvage_ledger(damaged: Path, new: Path) -> Salvaged:
    """Copy every row of a damaged ledger that can still be read and is whole into a new ledger.

    Args:
        damaged: the file of the damaged ledger, which is not changed.
        new: the file to make. It is deleted again if this fails.

    Raises:
        DiskError: nothing can be read from *damaged*, or *new* cannot be written.
    """
    try:
        whole = _readable(damaged, new.parent)
        with closing(reading(whole)) as old, closing(sqlite3.connect(new, isolation_level=None)) as copy:
            _copy(old, copy, damaged)
            counts = "SELECT TOTAL(state = 'answered'), COUNT(*), (SELECT COUNT(*) FROM losses) FROM attempts"
            return Salvaged(*map(int, copy.execute(counts).fetchone()))
    except BaseException as error:
        # After an interrupt too, so that half a ledger is never taken for all that could be read.
        for left in new.parent.glob(f"{new.name}*"):
            left.unlink()
        if isinstance(error, sqlite3.Error):
            raise DiskError(f"{new}: cannot be written: {error}") from error
        raise
    finally:
        for left in new.parent.glob(f"{READABLE}*"):
            left.unlink()


def _readable(damaged: Path, out: Path) -> Path:
    try:
        return readable(damaged, out)
    except UNREADABLE as error:
        raise DiskError(f"nothing in it can be read: {fault(damaged, error)}") from error


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, path: Path) -> None:
    tables = _tables()
    try:
        columns = {table.name: _columns(old, table.name) for table in tables}
        version = likeliest_version(old)
    except UNREADABLE as error:
        raise DiskError(f"nothing in it can be read: {fault(path, error)}") from error
    if not any(columns.values()):
        raise DiskError(f"{path}: nothing in it can be read, because its tables are missing")
    new.execute("PRAGMA journal_mode = WAL")
    new.execute("BEGIN IMMEDIATE")
    lay_out(new, version)  # the rows are copied as they are, and then brought up to date like any older ledger
    for table in tables:
        known = [name for name in columns[table.name] if name in _columns(new, table.name)]
        marks = ", ".join("?" * len(known))
        # A row without a value that every row has is damaged, so it is passed over.
        insert = f"INSERT OR IGNORE INTO {table.name} ({', '.join(known)}) VALUES ({marks})"  # noqa: S608 - our names
        for row in _rows(old, table, columns[table.name]) if known else ():
            new.execute(insert, [row[name] for name in known])
    new.execute("COMMIT")
    prepare(new)
    for statement in _LINKS:
        new.execute(statement)


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def _rows(db: sqlite3.Connection, table: _Table, columns: list[str]) -> Iterator[Row]:
    """Yield the intact rows of a table in order, skipping those that cannot be read."""
    if not columns:
        return
    ranges = _Ranges.of(db, table.name)
    low: int | None = 0
    while low is not None:
        try:
            for key, *values in ranges.beginning(low):
                row = dict(zip(columns, values, strict=True))
                low = max(low, _number(key) + 1)
                if table.whole(row):
                    yield row
            return
        except (sqlite3.Error, ValueError):
            low = ranges.next_readable(low)


@frozen
class _Ranges:
    """The rows of a table from any bound on: of a row number, or of a key that begins with hexadecimal digits."""

    db: sqlite3.Connection
    table: str
    numbered: bool
    """True if the table has row numbers, by which it is ordered then."""

    @classmethod
    def of(cls, db: sqlite3.Connection, table: str) -> _Ranges:
        """Return the rows of a table."""
        try:
            db.execute(f"SELECT rowid FROM {table} LIMIT 0")  # noqa: S608 - our names
        except sqlite3.OperationalError:
            return cls(db, table, numbered=False)
        return cls(db, table, numbered=True)

    def beginning(self, low: int) -> sqlite3.Cursor:
        """Return the rows from a bound on, each after its number or key."""
        key, bound = ("rowid", low) if self.numbered else ("key", f"{low:016x}")
        return self.db.execute(f"SELECT {key}, * FROM {self.table} WHERE {key} >= ? ORDER BY 1", (bound,))  # noqa: S608

    def next_readable(self, low: int) -> int | None:
        """Return the least bound above *low* from which a row can be read, or ``None`` if there is none.

        Steps double until a readable bound is found, and a binary search then narrows it down.
        """
        step, failed = 1, low
        while not self._readable(low + step):
            failed, step = low + step, 2 * step
            if low + step >= (_ROWS if self.numbered else _KEYS):
                return None
        bound = low + step
        while bound - failed > 1:
            middle = (failed + bound) // 2
            failed, bound = (failed, middle) if self._readable(middle) else (middle, bound)
        return bound

    def _readable(self, bound: int) -> bool:
        try:
            row = self.beginning(bound).fetchone()
            return row is None or _number(row[0]) >= 0
        except (sqlite3.Error, ValueError):
            return False


def _number(key: Any) -> int:
    return key if isinstance(key, int) else int(key[:16], 16)
