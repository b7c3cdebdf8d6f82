"""A damaged ledger in a form that SQLite opens: a copy with its full length and whole definitions of tables."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from difflib import SequenceMatcher
from pathlib import Path

from rt_framework.ledger.damage import reading
from rt_framework.ledger.schema import VERSION, laid_out
from rt_framework.ledger.seal import beside

READABLE = ".readable.sqlite"
"""Name of the copy."""

_LONGEST = 1000
"""Largest believable ratio of a file's stated length to its present length; above it the number itself is damaged."""

_ALIKE = 0.9
"""Share of a table's definition that must be left, so that a changed one is taken for it."""


def readable(ledger: Path, out: Path) -> Path:
    """Return the path of a ledger, or of a copy in the folder *out* if SQLite would not open it as it is.

    Raises:
        sqlite3.DatabaseError: it cannot be made readable.
    """
    length = _stated_length(ledger)
    short = ledger.stat().st_size < length <= _LONGEST * ledger.stat().st_size
    if not short and _is_defined(ledger):
        return ledger
    copy = out / READABLE
    shutil.copyfile(ledger, copy)
    if beside(ledger, "wal").exists():
        shutil.copyfile(beside(ledger, "wal"), beside(copy, "wal"))
    if short:
        os.truncate(copy, length)  # the added zeros take no disk space
    if not _is_defined(copy):
        _define(copy)
    return copy


def _stated_length(ledger: Path) -> int:
    """Return the length in bytes that the file's header states: page size in bytes 16-17, pages in bytes 28-31."""
    with ledger.open("rb") as file:
        head = file.read(100)
    return int.from_bytes(head[16:18], "big") * int.from_bytes(head[28:32], "big")


def _is_defined(ledger: Path) -> bool:
    """Return whether SQLite understands the definitions of the tables. One that it does not makes it refuse all."""
    with closing(reading(ledger)) as db:
        try:
            db.execute("SELECT 1 FROM sqlite_master")
        except sqlite3.DatabaseError as error:
            return "malformed database schema" not in str(error)
        except UnicodeDecodeError:  # the message quotes the definition
            return False
    return True


def _define(ledger: Path) -> None:
    """Replace each definition by the one of this program that it is most like; the others are taken out.

    Indexes and triggers are not needed to read the tables.
    """
    known = {definition: name for name, definition in _definitions()}
    with closing(sqlite3.connect(ledger, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.text_factory = lambda text: text.decode("utf-8", "replace")
        with suppress(sqlite3.DatabaseError, UnicodeDecodeError):  # with this setting only the first one is refused
            db.execute("SELECT 1 FROM sqlite_master")
        found = db.execute("SELECT rowid, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        for row, text in found:
            nearest = _nearest(str(text), known)
            if nearest is None:
                db.execute("DELETE FROM sqlite_master WHERE rowid = ?", (row,))
                continue
            defined = "UPDATE sqlite_master SET type = 'table', name = ?1, tbl_name = ?1, sql = ?2 WHERE rowid = ?3"
            db.execute(defined, (known[nearest], nearest, row))


def _nearest(text: str, definitions: Iterable[str]) -> str | None:
    """Return the definition that a damaged one is most like, or ``None`` if it is like none of them."""
    nearest = max(definitions, key=lambda definition: SequenceMatcher(None, text, definition).quick_ratio())
    return nearest if SequenceMatcher(None, text, nearest, autojunk=False).ratio() >= _ALIKE else None


def _definitions() -> Iterator[tuple[str, str]]:
    """Yield name and definition of each table of each version."""
    for version in range(1, VERSION + 1):
        with laid_out(version) as empty:
            yield from empty.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
