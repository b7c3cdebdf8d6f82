"""What can still be read of a damaged ledger, in a new one: all that was paid for or computed, row by row."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import cattrs
from attrs import frozen

from rt_framework.errors import DiskError
from rt_framework.ledger.damage import fault, reading
from rt_framework.ledger.schema import prepare
from rt_framework.ledger.seal import beside
from rt_framework.model import Reply, Request

_LONGEST = 1000
"""Times that a file can be longer than what is left of it; more is no length but a damaged number."""

_ROWS, _KEYS = 1 << 63, 1 << 64
"""Row numbers, and numbers that the first 16 digits of keys make, lie below these."""

Row = Mapping[str, Any]


@frozen
class Salvaged:
    """How much was read."""

    answers: int
    attempts: int
    losses: int


@frozen
class _Table:
    """A table whose rows can be read one range after the other, and which rows of it are whole."""

    name: str
    key: str
    """The column that ranges are made of: a row number, or a key that begins with hexadecimal digits."""
    whole: Callable[[Row], bool]


def _parses(text: Any, cls: Any) -> bool:
    try:
        cattrs.structure(json.loads(text), cls)
    except Exception:  # as many kinds as there are ways to be wrong
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


_TABLES = (
    _Table("meta", "rowid", _is_note),
    _Table("batches", "rowid", lambda row: isinstance(row["token"], str)),
    _Table("calls", "rowid", lambda row: _parses(row["request"], Request)),
    _Table("attempts", "id", _is_attempt),
    _Table("losses", "key", _is_loss),
    _Table("token_losses", "key", lambda row: isinstance(row["nll"], bytes) and isinstance(row["ranks"], bytes)),
)

_UNANSWERED = """
UPDATE calls SET answer = NULL
WHERE answer NOT IN (SELECT id FROM attempts WHERE reply IS NOT NULL AND call = calls.key)
"""

LENGTHENED = ".lengthened.sqlite"
"""A copy of a file whose end is missing: SQLite opens none that is shorter than its first page says."""


def salvage_ledger(damaged: Path, new: Path) -> Salvaged:
    """Copy every row of a damaged ledger that can still be read and is whole into a new ledger.

    Args:
        damaged: the ledger's file; it stays as it is.
        new: the file to make. Where this fails, nothing of it is left.

    Raises:
        DiskError: nothing can be read, or *new* cannot be written.
    """
    try:
        with closing(reading(_whole_length(damaged, new.parent))) as old, closing(_new(new)) as made:
            _copy(old, made, damaged)
            counts = "SELECT TOTAL(state = 'answered'), COUNT(*), (SELECT COUNT(*) FROM losses) FROM attempts"
            return Salvaged(*map(int, made.execute(counts).fetchone()))
    except BaseException as error:
        for left in new.parent.glob(f"{new.name}*"):
            left.unlink()
        if isinstance(error, sqlite3.Error):
            raise DiskError(f"{new}: cannot be written: {error}") from error
        raise
    finally:
        for left in new.parent.glob(f"{LENGTHENED}*"):
            left.unlink()


def _whole_length(ledger: Path, out: Path) -> Path:
    """The file, or a copy in *out* that is as long as it should be, with zeros for what is missing."""
    with ledger.open("rb") as file:
        head = file.read(100)
    length = int.from_bytes(head[16:18], "big") * int.from_bytes(head[28:32], "big")
    if not ledger.stat().st_size < length <= _LONGEST * ledger.stat().st_size:
        return ledger
    copy = out / LENGTHENED
    shutil.copyfile(ledger, copy)
    if beside(ledger, "wal").exists():
        shutil.copyfile(beside(ledger, "wal"), beside(copy, "wal"))
    os.truncate(copy, length)  # zeros take no room
    return copy


def _new(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    prepare(db)
    return db


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, path: Path) -> None:
    try:
        columns = {table.name: _columns(old, table.name) for table in _TABLES}
    except sqlite3.Error as error:
        raise DiskError(f"nothing can be read of it: {fault(path, error)}") from error
    if not any(columns.values()):
        raise DiskError(f"{path}: nothing can be read of it, its tables are gone")
    new.execute("BEGIN IMMEDIATE")
    for table in _TABLES:
        known = [name for name in columns[table.name] if name in _columns(new, table.name)]
        marks = ", ".join("?" * len(known))
        insert = f"INSERT OR REPLACE INTO {table.name} ({', '.join(known)}) VALUES ({marks})"  # noqa: S608 - our names
        for row in _rows(old, table, columns[table.name]):
            new.execute(insert, [row[name] for name in known])
    new.execute(_UNANSWERED)
    new.execute("COMMIT")


def _columns(db: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def _rows(db: sqlite3.Connection, table: _Table, columns: list[str]) -> Iterator[Row]:
    """The rows of a table that are whole, in order, passing over what cannot be read."""
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
    """The least bound above *low* from which on a row can be read: by steps that double, then by halves."""

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
    found = low + step
    while found - failed > 1:
        middle = (failed + found) // 2
        failed, found = (failed, middle) if readable(middle) else (middle, found)
    return found


def _number(key: Any) -> int:
    return key if isinstance(key, int) else int(key[:16], 16)
