"""The one thread that writes to the ledger."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rt_framework.errors import DiskError
from rt_framework.ledger.damage import damaged, fault, identity_in, is_corrupt
from rt_framework.ledger.schema import prepare
from rt_framework.ledger.seal import HeldFiles, Sealer

Statement = tuple[str, Sequence[Any]]

_MOST = 200
"""Writes of one commit: a commit costs a disk flush, whatever it holds."""

LONG_LOG = 1 << 26
"""Bytes of the log from which on it is written back into the file."""

_Job = tuple[list[Statement], "asyncio.Future[list[int]] | threading.Event"]
"""What to write, and whom to tell."""


class Writer:
    """Takes statements from any thread and commits what has gathered.

    A failed write stops all writing: nothing may be acknowledged after something was lost. Nor may it when the file
    is no longer where it was: what is committed there is gone when the process ends.

    Args:
        path: the file; created, or brought up to date.
        beside: other files that have to stay where they are.

    Raises:
        sqlite3.DatabaseError: the file cannot be opened.
        OSError: its seal cannot be written.
    """

    def __init__(self, path: Path, beside: Iterable[Path] = ()) -> None:
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        # Opened here, where whoever asked for it is told what is wrong; then used by the thread alone.
        self._db = _open(path)
        prepare(self._db)
        run, self._commits = identity_in(self._db)
        self._sealer = Sealer(path, run, self._commits)
        self._held = HeldFiles([path, *beside])
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._broken: DiskError | None = None
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    def put(self, statements: list[Statement]) -> asyncio.Future[list[int]]:
        """Write all or nothing. The future gives each statement's last row id, after the commit.

        Raises:
            DiskError: through the future.
        """
        future: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._jobs.put((statements, future))
        return future

    def flush(self, seconds: float) -> None:
        """Wait until what is waiting is committed, so long at most. May be called from a signal handler."""
        done = threading.Event()
        self._jobs.put(([], done))
        done.wait(seconds)

    def check_held(self) -> None:
        """Whether what was committed is where it is looked for.

        Raises:
            DiskError: a file is gone, or another one has its name.
        """
        self._held.check()

    def close(self, sound: bool = True) -> None:
        """Commit what is waiting, end the thread, and leave everything in the one file, sealed.

        Args:
            sound: whether nothing wrong was found in the file.
        """
        self._jobs.put(None)
        self._thread.join()
        whole = False
        # What fails here leaves the files as a kill does: nothing is lost, and the next run looks through them.
        with suppress(DiskError, OSError, sqlite3.Error):
            self._held.check()
            self._sealer.open()  # SQLite writes back when it closes too
            whole = self._broken is None and self._write_back("TRUNCATE")
        self._db.close()
        with suppress(OSError):
            self._sealer.close(whole and sound)

    def _work(self) -> None:
        while True:
            jobs, last = self._gather()
            if jobs:
                self._commit(self._db, jobs)
            if last:
                return

    def _gather(self) -> tuple[list[_Job], bool]:
        """At least one job, more if they are there already; and whether to end."""
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == _MOST or self._jobs.empty():
                return jobs, False
            job = self._jobs.get()
        return jobs, True

    def _commit(self, db: sqlite3.Connection, jobs: list[_Job]) -> None:
        # A future that was cancelled while it waited is still written: its answer may be paid for.
        done: list[list[int] | Exception]
        try:
            if self._broken is not None:
                raise self._broken
            try:
                done = _all(db, jobs)
            except _UNFIT:
                # One of them holds a value that SQLite does not take; the others must not be lost with it.
                db.execute("ROLLBACK")
                db.execute("BEGIN IMMEDIATE")
                done = _each(db, jobs)
            db.execute("UPDATE meta SET value = ? WHERE key = 'commits'", (str(self._commits + 1),))
            db.execute("COMMIT")
            self._commits += 1
            self._sealer.count(self._commits)
            self._held.hold(self._log)
            # After the commit and before it is acknowledged: nothing is sent whose intent went into a removed file.
            self._held.check()
        except Exception as error:
            if db.in_transaction:
                with suppress(sqlite3.Error):  # With the disk gone that can fail too; whoever waits must be told.
                    db.execute("ROLLBACK")
            self._broken = self._broken or self._fault(error)
            _acknowledge(jobs, [self._broken] * len(jobs))
        else:
            _acknowledge(jobs, done)
            with suppress(OSError, sqlite3.Error):  # the log holds it all
                if self._log.stat().st_size >= LONG_LOG:
                    self._write_back("PASSIVE")

    def _write_back(self, how: str) -> bool:
        """Write the log back into the file; whether that was all of it, with nobody reading."""
        self._sealer.open()
        busy: int = self._db.execute(f"PRAGMA wal_checkpoint({how})").fetchone()[0]
        return not busy

    def _fault(self, error: Exception) -> DiskError:
        if isinstance(error, DiskError):
            return error
        if is_corrupt(error):
            return damaged(self._path, str(error))
        return DiskError(
            f"{self._path}: cannot be written: {error}; what was committed stays: put that right (make room, or "
            "make it writable) and give the same command again"
        )


def open_writer(path: Path, beside: Iterable[Path] = ()) -> Writer:
    """A writer of a ledger.

    Raises:
        DiskError: it cannot be opened.
    """
    try:
        return Writer(path, beside)
    except sqlite3.Error as error:
        raise fault(path, error) from error
    except OSError as error:
        raise DiskError(f"{path}: cannot be opened: {error.strerror or error}") from error


_Told = tuple["asyncio.Future[list[int]]", list[int] | Exception]
"""Who waits for a job, and how it went."""

_UNFIT: tuple[type[Exception], ...]
_UNFIT = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
_UNFIT += (OverflowError, TypeError, ValueError)
"""Errors that are those of a value, not of the file."""


def _all(db: sqlite3.Connection, jobs: Sequence[_Job]) -> list[list[int] | Exception]:
    """Write all jobs, or none."""
    db.execute("BEGIN IMMEDIATE")
    done: list[list[int] | Exception] = [
        [_execute(db, *statement) for statement in statements] for statements, _ in jobs
    ]
    return done


def _each(db: sqlite3.Connection, jobs: Sequence[_Job]) -> list[list[int] | Exception]:
    """Write every job that can be, each whole or not at all, and tell why the others cannot."""
    done: list[list[int] | Exception] = []
    for statements, _ in jobs:
        db.execute("SAVEPOINT job")
        try:
            done.append([_execute(db, *statement) for statement in statements])
        except _UNFIT as error:
            db.execute("ROLLBACK TO job")
            done.append(ValueError(f"the ledger cannot hold it: {type(error).__name__}: {error}"))
        db.execute("RELEASE job")
    return done


def _acknowledge(jobs: Sequence[_Job], results: Sequence[list[int] | Exception]) -> None:
    """Tell whoever waits, each event loop once: to wake it takes as long as to write a row."""
    told: dict[asyncio.AbstractEventLoop, list[_Told]] = {}
    for (_, waiting), result in zip(jobs, results, strict=True):
        if isinstance(waiting, threading.Event):
            waiting.set()
        else:
            told.setdefault(waiting.get_loop(), []).append((waiting, result))
    for loop, some in told.items():
        with suppress(RuntimeError):  # it was closed meanwhile
            loop.call_soon_threadsafe(_tell, some)


def _tell(told: Sequence[_Told]) -> None:
    for future, result in told:
        if future.done():  # nobody waits any more
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    # Keys are hashes, so every write meets a page of its own: with small caches most of the time goes there.
    db.execute("PRAGMA cache_size = -65536")
    # Written back by the writer, which has to open the seal first; a log that was starts small again.
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("PRAGMA journal_size_limit = 0")
    return db


def _execute(db: sqlite3.Connection, sql: str, values: Sequence[Any]) -> int:
    return db.execute(sql, [_storable(value) for value in values]).lastrowid or 0


def _storable(value: Any) -> Any:
    """SQLite text is UTF-8; a lone surrogate in a message must not fail the write."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
