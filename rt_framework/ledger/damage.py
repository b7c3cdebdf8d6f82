"""The checks of a ledger for damage, and the one error that reports damage together with the repair command."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import Any, Self

from attrs import frozen

from rt_framework.errors import DiskError
from rt_framework.ledger.seal import Seal, beside, digest_of, seal_of

UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""Errors of reading a ledger. Some messages of SQLite quote what is in the file, which may be no text."""

_NO_DAMAGE = ("BUSY", "LOCKED", "CANTOPEN", "READONLY", "FULL", "PERM", "AUTH", "NOMEM", "IOERR", "INTERRUPT")
"""Beginnings of SQLite's error names, after ``SQLITE_``, that say nothing about the contents of the file."""


TOLD = """
SELECT (SELECT value FROM meta WHERE key = 'run_id'), (SELECT COUNT(*) FROM attempts),
(SELECT COUNT(*) FROM attempts WHERE state = 'answered'), (SELECT COUNT(*) FROM losses)
"""
"""Query for :meth:`Told.of` that works with every version of the layout."""


@frozen
class Told:
    """The manifest's statement about its ledger: the id of the run, and counts of rows that are never deleted."""

    run_id: str
    attempts: int
    answers: int
    losses: int

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """Return the same statement made from a ledger, of which *row* is the result of :data:`TOLD`."""
        return cls(json.loads(row[0] or '""'), *row[1:])

    def missing(self, there: Told) -> str | None:
        """Return a description of the first thing that *there*, the ledger's own statement, lacks; ``None`` if none."""
        if there.run_id != self.run_id:
            return "it is not the ledger that manifest.json names"
        for name in ("answers", "attempts", "losses"):
            least, count = getattr(self, name), getattr(there, name)
            if count < least:
                return f"it has {count} {name}, but manifest.json records {least}"
        return None


def check_ledger(path: Path, statement: Told | None = None) -> None:
    """Check, without changing it, that a ledger to which no process writes is whole.

    After a clean end the file is hashed, else SQLite checks all of it; either takes a second or two per gigabyte. A
    missing file passes if neither a seal nor the manifest says that there was one.

    Args:
        path: the ledger.
        statement: the manifest's statement about it.

    Raises:
        DiskError: the ledger is damaged, or lacks rows that were committed.
    """
    seal = seal_of(path)
    if not path.exists():
        if seal is not None or statement is not None:
            raise damaged(path, "the file is missing")
        return
    try:
        if seal is not None:
            _check_file(path, seal)
        # Without a clean end the hash, if any, does not cover the log, so the contents are checked too.
        if seal is None or not seal.closed:
            with closing(reading(path)) as db:
                _check_content(path, seal, db)
        if statement is not None:
            with closing(reading(path)) as db:
                missing = statement.missing(Told.of(db.execute(TOLD).fetchone()))
            if missing is not None:
                raise damaged(path, missing)
    except UNREADABLE as error:
        raise fault(path, error) from error
    except ValueError as error:
        raise damaged(path, f"it does not say to which run it belongs: {error}") from error
    except OSError as error:
        raise DiskError(f"{path}: cannot be read: {error.strerror or error}") from error


def _check_file(path: Path, seal: Seal) -> None:
    if seal.digest is not None and digest_of(path) != seal.digest:
        name = quote(str(beside(path, "seal")))
        raise damaged(path, f"its content was changed after the last run (if you changed it yourself, delete {name})")
    # A clean end leaves no log, so a log that is here now is foreign, and SQLite would apply it to the file.
    log = beside(path, "wal")
    if seal.closed and log.exists() and log.stat().st_size:
        raise damaged(path, f"{log.name} does not belong to it: the last run left no such file")


def _check_content(path: Path, seal: Seal | None, db: sqlite3.Connection) -> None:
    damage = look_through(db)
    if damage is not None:
        raise damaged(path, damage)
    if seal is None:
        return
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        raise damaged(path, "it is empty")
    run, commits = identity_in(db)
    if run != seal.run:
        raise damaged(path, "it is the ledger of another run")
    # The seal is written after each commit, so a ledger may hold more commits than its seal states, but never fewer.
    if commits < seal.commits:
        lost = seal.commits - commits
        raise damaged(
            path, f"{lost} commits are missing: its log, {path.name}-wal, was cut or deleted, or this is an older copy"
        )


def look_through(db: sqlite3.Connection) -> str | None:
    """Return the first fault that SQLite finds in a whole file, tables and indexes; ``None`` if there is none."""
    verdict = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    return None if verdict == "ok" else str(verdict).splitlines()[-1]


def identity_in(db: sqlite3.Connection) -> tuple[str, int]:
    """Return the run id and the number of commits that the ledger itself holds."""
    meta = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('run_id', 'commits')"))
    return str(json.loads(meta.get("run_id", '""'))), int(meta.get("commits", 0))


def reading(path: Path) -> sqlite3.Connection:
    """Return a connection that never creates or changes the file, and after a clean end leaves no file beside it."""
    seal, place = seal_of(path), path.resolve()
    if seal is None or not seal.closed:
        how = "mode=ro"  # the connection must not write the log back into the file when it closes
    elif os.access(place.parent, os.W_OK):
        how = "mode=rw"  # a read-only connection could not delete the files that SQLite makes beside the ledger
    else:
        how = "mode=ro&immutable=1"
    # A finished run may be read, or collected as garbage, in another thread; SQLite itself takes calls one at a time.
    db = sqlite3.connect(f"{place.as_uri()}?{how}", uri=True, check_same_thread=False)
    db.execute("PRAGMA query_only = 1")
    return db


def fault(path: Path, error: Exception) -> DiskError:
    """Return SQLite's error about a ledger as a :class:`DiskError`, which reports damage only where there is damage."""
    name = getattr(error, "sqlite_errorname", "")
    if any(name.startswith(f"SQLITE_{code}") for code in _NO_DAMAGE):
        return DiskError(f"{path}: cannot be read: {error}")
    return damaged(path, str(error))


def is_corrupt(error: Exception) -> bool:
    """Return whether a write failed because the contents of the file are damaged."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def damaged(path: Path, what: str) -> DiskError:
    """Return the error for a ledger that cannot be trusted; *what* says why, and the message names the way out."""
    run, aside = quote(str(path.parent)), quote(f"{path.parent}.damaged")
    return DiskError(
        f"{path}: damaged: {what}. Nothing was changed. It holds answers that were paid for, so keep it: "
        f"mv {run} {aside} && rt salvage {aside} {run} copies its readable part into a new directory, and the same "
        "command then asks only for what is lost"
    )
