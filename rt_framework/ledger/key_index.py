"""The index of hashes in a ledger, which is written in order: a log-structured merge tree (O'Neil et al., 1996).

Keys of losses and calls are hashes. In an ordinary index each new one changes another page, and a commit writes whole
pages: a ledger of a million samples then writes 5,000 bytes for a loss of 50. Here new keys enter a small *open
segment*, which is closed when it is full, and closed segments are merged into larger ones. A key is looked for in each
segment; there are seldom more than thirty. Triggers add every key together with its row, so that no row lacks one; the
rest is only order, and may be done at any time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

LOSSES, CALLS, PAIRS = "losses", "calls", "pairs"
"""What is looked up: losses and calls by their keys, and the calls about a pair by its hash."""

INDEXED: Mapping[str, tuple[str, str]] = {LOSSES: ("losses", "key"), CALLS: ("calls", "key"), PAIRS: ("calls", "pair")}
"""Table and column of each."""

FULL = 4096
"""Rows after which an open segment is closed."""

FAN = 8
"""Closed segments of one size that are merged into one."""

TOP = 4
"""Level of the largest segments, of two million keys: a merge that makes one takes two seconds."""

_DIGITS = 12
"""Characters of a key in the index. Where two keys begin alike, the keys in the rows tell them apart."""


def rows_like(what: str, beginnings: str) -> str:
    """Return a join in which the indexed table has only the rows with keys that begin like wanted ones.

    The caller compares the whole keys.

    Args:
        what: what is looked up, of :data:`INDEXED`.
        beginnings: SQL expressions of the beginnings of the wanted keys, see :func:`beginning`.
    """
    table, _ = INDEXED[what]
    return (
        f"index_segments CROSS JOIN index_keys AS found ON of = '{what}' AND found.segment = index_segments.number "
        f"AND found.key IN ({beginnings}) CROSS JOIN {table} ON {table}.number = found.number"
    )


def beginning(key: str) -> str:
    """Return the part of a key that is in the index."""
    return key[:_DIGITS]


def row_of(what: str, key: str) -> str:
    """Return a query for the numbers of the rows that have a key, given as an SQL expression."""
    table, column = INDEXED[what]
    rows = rows_like(what, f"substr({key}, 1, {_DIGITS})")
    return f"SELECT {table}.number FROM {rows} WHERE {table}.{column} = {key}"  # noqa: S608 - fixed texts


def begin(db: sqlite3.Connection, what: str) -> None:
    """Index all rows that are there in one segment, and by a trigger those to come."""
    if begun(db, what):
        return
    table, column = INDEXED[what]
    last = _last(db, table)
    if last:
        beginnings = f"SELECT ?, substr({column}, 1, {_DIGITS}), number FROM {table} WHERE {column} IS NOT NULL"  # noqa: S608
        db.execute(f"INSERT INTO index_keys {beginnings} ORDER BY 2, 3", (_new_segment(db, what, TOP),))
    _new_segment(db, what, 0, last + 1)
    # A number that is given again, because the latest row was deleted, may be there with the same key.
    added = (
        f"INSERT OR IGNORE INTO index_keys SELECT number, substr(NEW.{column}, 1, {_DIGITS}), NEW.number "  # noqa: S608
        f"FROM index_segments WHERE of = '{what}' AND level = 0 AND NEW.{column} IS NOT NULL"
    )
    db.execute(f"CREATE TRIGGER {what}_indexed AFTER INSERT ON {table} BEGIN {added}; END")


def begun(db: sqlite3.Connection, what: str) -> bool:
    """Return whether rows are indexed."""
    trigger = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = ?"
    return db.execute(trigger, (f"{what}_indexed",)).fetchone() is not None


def tidy(db: sqlite3.Connection, before: int) -> int:
    """Close the open segments that are full, and merge closed ones; each is a transaction of its own.

    Args:
        db: a connection that may write.
        before: what the last call returned; 0 at first.

    Returns:
        the number of changes that the connection has made.
    """
    if db.total_changes - before < FULL:  # so that a commit of a few rows need not ask the tables
        return before
    for what, number, first in db.execute("SELECT of, number, first FROM index_segments WHERE level = 0").fetchall():
        last = _last(db, INDEXED[what][0])
        if last - first < FULL:
            continue
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE index_segments SET level = 1 WHERE number = ?", (number,))
        for level in range(1, TOP):
            _merge(db, what, level)
        _new_segment(db, what, 0, last + 1)
        db.execute("COMMIT")
    return db.total_changes


def _merge(db: sqlite3.Connection, what: str, level: int) -> None:
    """Merge the segments of a level into one of the next, if there are enough of them."""
    same = "SELECT number FROM index_segments WHERE of = ? AND level = ?"
    found = [number for (number,) in db.execute(same, (what, level))]
    if len(found) < FAN:
        return
    merged = _new_segment(db, what, level + 1)
    # In the order of the keys, so that full pages are written one after the other. The parts are in order, and SQLite
    # merges them as it reads them; a query of all at once would sort them in 64 MiB of memory.
    parts = " UNION ALL ".join(["SELECT key, number FROM index_keys WHERE segment = ?"] * len(found))
    merging = f"INSERT INTO index_keys SELECT ?, key, number FROM ({parts} ORDER BY key, number)"  # noqa: S608 - marks only
    db.execute(merging, (merged, *found))
    for number in found:
        db.execute("DELETE FROM index_keys WHERE segment = ?", (number,))
        db.execute("DELETE FROM index_segments WHERE number = ?", (number,))


def _new_segment(db: sqlite3.Connection, what: str, level: int, first: int = 0) -> int:
    """Add a segment, with the number of the first row that enters it while it is open, and return its number."""
    sql = "INSERT INTO index_segments (of, level, first) VALUES (?, ?, ?)"
    return db.execute(sql, (what, level, first)).lastrowid or 0


def _last(db: sqlite3.Connection, table: str) -> int:
    return int(db.execute(f"SELECT IFNULL(MAX(number), 0) FROM {table}").fetchone()[0])  # noqa: S608 - fixed names
