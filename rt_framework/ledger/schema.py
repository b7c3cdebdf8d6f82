"""The table layout of the ledger, and the steps that upgrade older layouts. Steps are only added, never changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

from rt_framework.ledger.damage import UNREADABLE
from rt_framework.ledger.key_index import INDEXED, begin, begun

_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE calls (
  key TEXT PRIMARY KEY, reflection TEXT, pair TEXT, idx INTEGER, teacher TEXT, request TEXT, reply TEXT);
CREATE TABLE attempts (
  id INTEGER PRIMARY KEY, call TEXT NOT NULL, state TEXT NOT NULL, kind TEXT, message TEXT,
  reserved INTEGER NOT NULL, cost INTEGER NOT NULL DEFAULT 0);
CREATE INDEX attempts_call ON attempts (call);
CREATE TABLE losses (
  key TEXT PRIMARY KEY, nll REAL, tokens INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT) WITHOUT ROWID;
CREATE TABLE samples (
  id TEXT PRIMARY KEY, row INTEGER NOT NULL, kept TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT);
CREATE INDEX samples_row ON samples (row);
CREATE TABLE versions (
  sample TEXT, seq INTEGER, name TEXT, parent TEXT, reflection TEXT, call TEXT, pair TEXT,
  PRIMARY KEY (sample, seq)) WITHOUT ROWID;
CREATE TABLE scores (
  sample TEXT, version TEXT, metric TEXT, value REAL, status TEXT, reason TEXT,
  PRIMARY KEY (sample, version, metric)) WITHOUT ROWID;
CREATE TABLE decisions (
  sample TEXT, seq INTEGER, stage TEXT, candidates TEXT, kept TEXT, reason TEXT,
  PRIMARY KEY (sample, seq)) WITHOUT ROWID;
CREATE TABLE failures (
  sample TEXT, seq INTEGER, stage TEXT, kind TEXT, reason TEXT, call TEXT,
  PRIMARY KEY (sample, seq)) WITHOUT ROWID
"""

# Every answer is stored with the attempt that paid for it; a call points at the attempt whose answer is used.
_ANSWERS_TO_ATTEMPTS = """
ALTER TABLE attempts ADD COLUMN reply TEXT;
ALTER TABLE calls ADD COLUMN answer INTEGER;
UPDATE calls SET answer = (SELECT MAX(id) FROM attempts WHERE call = key AND state = 'answered')
WHERE reply IS NOT NULL;
UPDATE attempts SET reply = (SELECT reply FROM calls WHERE answer = attempts.id) WHERE state = 'answered';
ALTER TABLE calls DROP COLUMN reply;
CREATE INDEX calls_pair ON calls (pair)
"""

# A later run asks the provider for the answers to questions in an open batch, so the batch is recorded.
_BATCHES = """
CREATE TABLE batches (token TEXT PRIMARY KEY, created REAL NOT NULL, name TEXT, state TEXT NOT NULL);
ALTER TABLE attempts ADD COLUMN batch TEXT;
CREATE INDEX attempts_batch ON attempts (batch) WHERE batch IS NOT NULL
"""

# Token losses are kept apart from the losses: they are long, and most metrics never read them.
_TOKENS = """
CREATE TABLE token_losses (
  key TEXT PRIMARY KEY, nll BLOB NOT NULL, ranks BLOB NOT NULL, cut INTEGER NOT NULL) WITHOUT ROWID
"""

# Bodies of answers that were paid for and could not be read are kept, because a later release may read them.
_RAW = "ALTER TABLE attempts ADD COLUMN raw BLOB"

# Vectors of texts by the student's hidden states, for selectors over the data set.
_VECTORS = "CREATE TABLE vectors (key TEXT PRIMARY KEY, tokens INTEGER NOT NULL, vector BLOB NOT NULL)"

# Calls whose question went on to the teacher's fallback in the last run, with the names of both teachers.
_HANDOVERS = """
CREATE TABLE handovers (
  call TEXT PRIMARY KEY, teacher TEXT NOT NULL, fallback TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL)
"""

# Questions are packed (see patterns.py), so what is looked up in them has columns. Questions of older ledgers stay as
# they are, without a pattern. A sample that is recorded anew loses its earlier record by a trigger: nearly every sample
# is new, and four statements that delete nothing would cost more than all that insert something.
_PLAIN_DRAWS = """
UPDATE calls SET draw = IFNULL(json_extract(request, '$.draw'), 0), step = IFNULL(json_extract(request, '$.step'), 0)
WHERE pattern IS NULL"""
_OF_A_SAMPLE = ("versions", "scores", "decisions", "failures")
_FORGET = " ".join(f"DELETE FROM {table} WHERE sample = NEW.id;" for table in _OF_A_SAMPLE)  # noqa: S608 - fixed names
_PATTERNS = f"""
CREATE TABLE patterns (key TEXT PRIMARY KEY, reflection TEXT NOT NULL, text BLOB NOT NULL);
ALTER TABLE calls ADD COLUMN pattern TEXT;
ALTER TABLE calls ADD COLUMN draw INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN step INTEGER NOT NULL DEFAULT 0;
{_PLAIN_DRAWS};
CREATE TRIGGER sample_anew BEFORE INSERT ON samples WHEN EXISTS (SELECT 1 FROM samples WHERE id = NEW.id)
BEGIN {_FORGET} END
"""  # noqa: S608 - fixed texts

# The records of a sample are ordered by its number, which counts up. Its id is a hash: ordered by that, each record
# would be on another page, and a commit writes whole pages, more of them for each sample the larger the ledger is.
_RECORDS = {
    "versions": ("seq INTEGER, name TEXT, parent TEXT, reflection TEXT, call TEXT, pair TEXT", "seq"),
    "scores": ("version TEXT, metric TEXT, value REAL, status TEXT, reason TEXT", "version, metric"),
    "decisions": ("seq INTEGER, stage TEXT, candidates TEXT, kept TEXT, reason TEXT", "seq"),
    "failures": ("seq INTEGER, stage TEXT, kind TEXT, reason TEXT, call TEXT", "seq"),
}


def _by_number(table: str) -> str:
    """Return the statements that order a table of records by the numbers of their samples."""
    columns, key = _RECORDS[table]
    names = ", ".join(f"old.{column.split()[0]}" for column in columns.split(", "))
    return f"""
ALTER TABLE {table} RENAME TO old;
CREATE TABLE {table} (sample INTEGER, {columns}, PRIMARY KEY (sample, {key})) WITHOUT ROWID;
INSERT INTO {table} SELECT number, {names} FROM old JOIN samples ON id = sample;
DROP TABLE old"""  # noqa: S608 - fixed texts


_OLD_NUMBER = "SELECT number FROM samples WHERE id = NEW.id"
_FORGET_NUMBER = " ".join(f"DELETE FROM {table} WHERE sample = ({_OLD_NUMBER});" for table in _RECORDS)  # noqa: S608
_NUMBERS = f"""
DROP TRIGGER sample_anew;
DROP INDEX samples_row;
ALTER TABLE samples RENAME TO old;
CREATE TABLE samples (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, row INTEGER NOT NULL, kept TEXT NOT NULL,
  outcome TEXT NOT NULL, reason TEXT);
INSERT INTO samples (id, row, kept, outcome, reason) SELECT id, row, kept, outcome, reason FROM old ORDER BY row;
DROP TABLE old;
CREATE INDEX samples_row ON samples (row);
{";".join(map(_by_number, _RECORDS)).strip()};
CREATE TRIGGER sample_anew BEFORE INSERT ON samples WHEN EXISTS ({_OLD_NUMBER})
BEGIN {_FORGET_NUMBER} END
"""  # noqa: S608 - fixed texts

# Losses and calls are stored in the order in which they come, and found by the index of key_index.py. An attempt names
# its call by number. Rows that other tables refer to keep their numbers.
_IN_ORDER = """
CREATE TABLE index_segments (
  number INTEGER PRIMARY KEY, of TEXT NOT NULL, level INTEGER NOT NULL, first INTEGER NOT NULL);
CREATE INDEX index_segments_of ON index_segments (of, level);
CREATE TABLE index_keys (segment INTEGER, key TEXT, number INTEGER, PRIMARY KEY (segment, key, number)) WITHOUT ROWID;
ALTER TABLE losses RENAME TO old;
CREATE TABLE losses (
  number INTEGER PRIMARY KEY, key TEXT NOT NULL, nll REAL, tokens INTEGER NOT NULL, status TEXT NOT NULL, reason TEXT);
INSERT INTO losses (key, nll, tokens, status, reason) SELECT key, nll, tokens, status, reason FROM old;
DROP TABLE old;
ALTER TABLE attempts RENAME TO old;
CREATE TABLE attempts (
  id INTEGER PRIMARY KEY, call INTEGER, state TEXT NOT NULL, kind TEXT, message TEXT,
  reserved INTEGER NOT NULL, cost INTEGER NOT NULL DEFAULT 0, reply TEXT, batch TEXT, raw BLOB);
INSERT INTO attempts
SELECT id, (SELECT rowid FROM calls WHERE key = call), state, kind, message, reserved, cost, reply, batch, raw FROM old;
DROP TABLE old;
CREATE INDEX attempts_call ON attempts (call);
CREATE INDEX attempts_batch ON attempts (batch) WHERE batch IS NOT NULL;
ALTER TABLE calls RENAME TO old;
CREATE TABLE calls (
  number INTEGER PRIMARY KEY, key TEXT NOT NULL, reflection TEXT, pair TEXT, idx INTEGER, draw INTEGER NOT NULL,
  step INTEGER NOT NULL, teacher TEXT, pattern TEXT, request, answer INTEGER);
INSERT INTO calls
SELECT rowid, key, reflection, pair, idx, draw, step, teacher, pattern, request, answer FROM old ORDER BY rowid;
DROP TABLE old
"""

STEPS = (_FIRST, _ANSWERS_TO_ATTEMPTS, _BATCHES, _TOKENS, _RAW, _VECTORS, _HANDOVERS, _PATTERNS, _NUMBERS, _IN_ORDER)
"""Upgrade steps: step n leads from version n to version n + 1; version 0 is an empty file."""

VERSION = len(STEPS)


def version_of(db: sqlite3.Connection) -> int:
    """Return the version of the layout; 0 for a file without one."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return 0
    row = db.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return int(row[0]) if row else 0


def prepare(db: sqlite3.Connection) -> None:
    """Create the tables or upgrade them, all or nothing. A layout newer than this release is not changed.

    Raises:
        sqlite3.DatabaseError: the file is not an SQLite file, or cannot be written.
    """
    db.execute("PRAGMA journal_mode = WAL")
    if _is_current(db):  # only read, because this job may yet be refused for this ledger
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        lay_out(db)
        if version_of(db) == VERSION:
            for what in INDEXED:
                begin(db, what)
        # The id of the run and the number of commits, with which the seal is compared.
        db.execute("INSERT OR IGNORE INTO meta VALUES ('run_id', ?), ('commits', '0')", (json.dumps(uuid4().hex),))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def lay_out(db: sqlite3.Connection, version: int = VERSION) -> None:
    """Create the tables of a version, or upgrade those of an older one. Their rows are not indexed before `prepare`."""
    for step in STEPS[version_of(db) : version]:
        for statement in step.split(";\n"):
            db.execute(statement)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (str(max(version, version_of(db))),))


@contextmanager
def laid_out(version: int) -> Iterator[sqlite3.Connection]:
    """Yield a connection to empty tables of a version, in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        lay_out(db, version)
        yield db


def likeliest_version(db: sqlite3.Connection) -> int:
    """Return the version whose tables and columns are most like those of a file; it may be damaged, as may be its note.

    Raises:
        sqlite3.DatabaseError: the file's list of tables cannot be read.
    """
    there = _columns(db)

    def unlike(version: int) -> int:
        with laid_out(version) as empty:
            return len(_columns(empty) ^ there)

    return min(range(1, VERSION + 1), key=unlike)


def _columns(db: sqlite3.Connection) -> set[tuple[str, str]]:
    """Return table and name of each column."""
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    columns = "SELECT name FROM pragma_table_info(?)"
    return {(table, name) for (table,) in tables for (name,) in db.execute(columns, (table,))}


def _is_current(db: sqlite3.Connection) -> bool:
    """Return whether the file needs no upgrade."""
    known = "SELECT COUNT(*) FROM meta WHERE key IN ('run_id', 'commits')"
    if version_of(db) < VERSION or db.execute(known).fetchone() != (2,):
        return False
    return version_of(db) > VERSION or all(begun(db, what) for what in INDEXED)


def is_older(path: Path) -> bool:
    """Return whether a file is a ledger of an older version, which is brought up to date when it is written to."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            return 0 < version_of(db) < VERSION
    except (*UNREADABLE, ValueError):
        return False


def is_foreign(path: Path) -> bool:
    """Return whether a file is an SQLite database of another program.

    False for a file that is not a database at all, which is refused elsewhere.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            return bool(db.execute("SELECT 1 FROM sqlite_master").fetchone()) and version_of(db) == 0
    except UNREADABLE:
        return False
