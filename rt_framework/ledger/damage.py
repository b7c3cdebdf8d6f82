"""What can be wrong with a ledger, and the one error that says so with the way out."""

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

_NO_DAMAGE = ("BUSY", "LOCKED", "CANTOPEN", "READONLY", "FULL", "PERM", "AUTH", "NOMEM", "IOERR", "INTERRUPT")
"""SQLite's names of errors that say nothing of what is in the file."""


TOLD = """
SELECT (SELECT value FROM meta WHERE key = 'run_id'), (SELECT COUNT(*) FROM attempts),
(SELECT COUNT(*) FROM attempts WHERE state = 'answered'), (SELECT COUNT(*) FROM losses)
"""
"""The query for :meth:`Told.of`, right for every version of the layout."""


@frozen
class Told:
    """What a manifest says of its ledger: whose it is, and how much of what is never taken away again."""

    run_id: str
    attempts: int
    answers: int
    losses: int

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """What a ledger says of itself."""
        return cls(json.loads(row[0] or '""'), *row[1:])

    def missing(self, there: Told) -> str | None:
        """What is not *there*, in words."""
        if there.run_id != self.run_id:
            return "it is not the ledger of which the manifest tells"
        for name in ("answers", "attempts", "losses"):
            least, found = getattr(self, name), getattr(there, name)
            if found < least:
                return f"it has {found} {name}, and the manifest tells of {least}"
        return None


def check_ledger(path: Path, told: Told | None = None) -> None:
    """Whether a ledger that nobody writes to is whole. Looks only; one that never was is whole.

    After a clean end it is hashed, else SQLite looks through all of it: about a second a gigabyte, or two.

    Args:
        path: the ledger.
        told: what the manifest says of it.

    Raises:
        DiskError: it is damaged, or lacks what was committed.
    """
    seal = seal_of(path)
    if not path.exists():
        if seal is not None or told is not None:
            raise damaged(path, "it is gone")
        return
    try:
        if seal is not None:
            _check_file(path, seal)
        if seal is None or not seal.closed:
            with closing(reading(path)) as db:
                _check_content(path, seal, db)
        if told is not None:
            with closing(reading(path)) as db:
                missing = told.missing(Told.of(db.execute(TOLD).fetchone()))
            if missing is not None:
                raise damaged(path, missing)
    except sqlite3.Error as error:
        raise fault(path, error) from error
    except ValueError as error:
        raise damaged(path, f"it does not say whose it is: {error}") from error
    except OSError as error:
        raise DiskError(f"{path}: cannot be read: {error.strerror or error}") from error


def _check_file(path: Path, seal: Seal) -> None:
    if seal.digest is not None and digest_of(path) != seal.digest:
        name = quote(str(beside(path, "seal")))
        raise damaged(path, f"it is not as the last run left it (if you changed it yourself, delete {name})")
    log = beside(path, "wal")
    if seal.closed and log.exists() and log.stat().st_size:
        raise damaged(path, f"{log.name} is not its own: the last run left none")


def _check_content(path: Path, seal: Seal | None, db: sqlite3.Connection) -> None:
    found = look_through(db)
    if found is not None:
        raise damaged(path, found)
    if seal is None:
        return
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        raise damaged(path, "it is empty")
    run, commits = identity_in(db)
    if run != seal.run:
        raise damaged(path, "it is the ledger of another run")
    if commits < seal.commits:
        lost = seal.commits - commits
        raise damaged(path, f"{lost} commits are missing: its log, {path.name}-wal, was cut or deleted, or it is old")


def look_through(db: sqlite3.Connection) -> str | None:
    """What SQLite finds wrong in a whole file, tables and indexes; ``None`` when nothing is."""
    found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    return None if found == "ok" else str(found).splitlines()[-1]


def identity_in(db: sqlite3.Connection) -> tuple[str, int]:
    """Who the run directory is, and how many commits were made, as the ledger says."""
    found = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('run_id', 'commits')"))
    return str(json.loads(found.get("run_id", '""'))), int(found.get("commits", 0))


def reading(path: Path) -> sqlite3.Connection:
    """A connection that never creates or changes the file, and leaves nothing beside it after a clean end."""
    seal, place = seal_of(path), path.resolve()
    if seal is None or not seal.closed:
        how = "mode=ro"  # it must not write the log back when it closes
    elif os.access(place.parent, os.W_OK):
        how = "mode=rw"  # else it could not take away again what SQLite needs beside the file
    else:
        how = "mode=ro&immutable=1"
    db = sqlite3.connect(f"{place.as_uri()}?{how}", uri=True)
    db.execute("PRAGMA query_only = 1")
    return db


def fault(path: Path, error: sqlite3.Error) -> DiskError:
    """What SQLite said of a ledger, as one line."""
    name = getattr(error, "sqlite_errorname", "")
    if any(name.startswith(f"SQLITE_{one}") for one in _NO_DAMAGE):
        return DiskError(f"{path}: cannot be read: {error}")
    return damaged(path, str(error))


def is_corrupt(error: Exception) -> bool:
    """Whether a write failed by what is in the file."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def damaged(path: Path, what: str) -> DiskError:
    """A ledger that cannot be trusted, and the way out."""
    run, aside = quote(str(path.parent)), quote(f"{path.parent}.damaged")
    return DiskError(
        f"{path}: damaged: {what}. Nothing was changed, and what was paid for is in there, so keep it: "
        f"mv {run} {aside} && rt salvage {aside} {run} reads what can be read of it into a new directory, and the same "
        "command asks only for what is lost"
    )
