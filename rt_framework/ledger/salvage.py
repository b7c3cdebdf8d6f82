"""The salvage of a damaged ledger: every readable row that was paid for or computed is copied into a new ledger."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import cattrs
from attrs import frozen

from rt_framework.errors import DiskError
from rt_framework.ledger.damage import fault, reading
from rt_framework.ledger.patterns import pattern_key, unpacked
from rt_framework.ledger.schema import PLAIN_DRAWS, prepare
from rt_framework.ledger.seal import beside
from rt_framework.model import Reply, Request

_LONGEST = 1000
"""Largest believable ratio of a file's stated length to its present length; above it the number itself is damaged."""

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
    """A table whose rows can be read in ranges of a key column, with a predicate for intact rows."""

    name: str
    key: str
    """Column by which rows are ordered: a row number, or a key that begins with hexadecimal digits."""
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
    return isinstance(row["call"], str) and isinstance(row["cost"], int) and (reply is None or _parses(reply, Reply))


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
        _Table("meta", "rowid", _is_note),
        _Table("batches", "rowid", lambda row: isinstance(row["token"], str)),
        _Table("patterns", "rowid", questions.is_pattern),
        _Table("calls", "rowid", questions.is_call),
        _Table("attempts", "id", _is_attempt),
        _Table("losses", "key", _is_loss),
        _Table("token_losses", "key", lambda row: isinstance(row["nll"], bytes) and isinstance(row["ranks"], bytes)),
        _Table("vectors", "rowid", lambda row: isinstance(row["tokens"], int) and isinstance(row["vector"], bytes)),
    )


_UNANSWERED = """
UPDATE calls SET answer = NULL
WHERE answer NOT IN (SELECT id FROM attempts WHERE reply IS NOT NULL AND call = calls.key)
"""

LENGTHENED = ".lengthened.sqlite"
"""Name of the lengthened copy of a file that was cut: SQLite opens no file shorter than its first page says."""


def salvage_ledger(damaged: Path, new: Path) -> Salvaged:
    """Copy every row of a damaged ledger that can still be read and is whole into a new ledger.

    Args:
        damaged: the file of the damaged ledger, which is not changed.
        new: the file to make. It is deleted again if this fails.

    Raises:
        DiskError: nothing can be read from *damaged*, or *new* cannot be written.
    """
    try:
        with closing(reading(_whole_length(damaged, new.parent))) as old, closing(_new(new)) as copy:
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
        for left in new.parent.glob(f"{LENGTHENED}*"):
            left.unlink()


def _whole_length(ledger: Path, out: Path) -> Path:
    """Return the path of *ledger*, or of a copy in *out* that is filled up with zeros if the file was cut."""
    with ledger.open("rb") as file:
        head = file.read(100)
    # SQLite's header states the page size in bytes 16-17 and the number of pages in bytes 28-31.
    length = int.from_bytes(head[16:18], "big") * int.from_bytes(head[28:32], "big")
    if not ledger.stat().st_size < length <= _LONGEST * ledger.stat().st_size:
        return ledger
    copy = out / LENGTHENED
    shutil.copyfile(ledger, copy)
    if beside(ledger, "wal").exists():
        shutil.copyfile(beside(ledger, "wal"), beside(copy, "wal"))
    os.truncate(copy, length)  # the added zeros take no disk space
    return copy


def _new(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    prepare(db)
    return db


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, path: Path) -> None:
    tables = _tables()
    try:
        columns = {table.name: _columns(old, table.name) for table in tables}
    except sqlite3.Error as error:
        raise DiskError(f"nothing in it can be read: {fault(path, error)}") from error
    if not any(columns.values()):
        raise DiskError(f"{path}: nothing in it can be read, because its tables are missing")
    new.execute("BEGIN IMMEDIATE")
    for table in tables:
        known = [name for name in columns[table.name] if name in _columns(new, table.name)]
        marks = ", ".join("?" * len(known))
        insert = f"INSERT OR REPLACE INTO {table.name} ({', '.join(known)}) VALUES ({marks})"  # noqa: S608 - our names
        for row in _rows(old, table, columns[table.name]):
            new.execute(insert, [row[name] for name in known])
    new.execute(PLAIN_DRAWS)  # an older ledger has draw and step in its questions alone
    # A call whose answer was lost must be asked again, so it must not point at a missing attempt.
    new.execute(_UNANSWERED)
    new.execute("COMMIT")


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def _rows(db: sqlite3.Connection, table: _Table, columns: list[str]) -> Iterator[Row]:
    """Yield the intact rows of a table in order, skipping those that cannot be read."""
    low: int | None = 0 if columns else None
    while low is not None:
        try:
            for key, *values in _from(db, table, low):
                row = dict(zip(columns, values, strict=True))
                low = max(low, _number(key) + 1)
                if table.whole(row):
                    yield row
            return
        except (sqlite3.Error, ValueError):
            low = _next_readable(db, table, low)


def _from(db: sqlite3.Connection, table: _Table, low: int) -> sqlite3.Cursor:
    bound = f"{low:016x}" if table.key == "key" else low
    return db.execute(f"SELECT {table.key}, * FROM {table.name} WHERE {table.key} >= ? ORDER BY 1", (bound,))  # noqa: S608


def _next_readable(db: sqlite3.Connection, table: _Table, low: int) -> int | None:
    """Return the least bound above *low* from which a row can be read, or ``None`` if there is none.

    Steps double until a readable bound is found, and a binary search then narrows it down.
    """

    def readable(bound: int) -> bool:
        try:
            row = _from(db, table, bound).fetchone()
            return row is None or _number(row[0]) >= 0
        except (sqlite3.Error, ValueError):
            return False

    step, failed = 1, low
    while not readable(low + step):
        failed, step = low + step, 2 * step
        if low + step >= (_KEYS if table.key == "key" else _ROWS):
            return None
    bound = low + step
    while bound - failed > 1:
        middle = (failed + bound) // 2
        failed, bound = (failed, middle) if readable(middle) else (middle, bound)
    return bound


def _number(key: Any) -> int:
    return key if isinstance(key, int) else int(key[:16], 16)
