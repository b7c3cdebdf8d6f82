"""The single thread that writes to the ledger."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from rt_framework.errors import DiskError
from rt_framework.ledger.damage import UNREADABLE, damaged, fault, identity_in, is_corrupt
from rt_framework.ledger.key_index import tidy
from rt_framework.ledger.schema import prepare
from rt_framework.ledger.seal import HeldFiles, Sealer
from rt_framework.ledger.statements import RowIds, Statement

_MOST = 200
"""Most writes in one commit. They are gathered, because a commit costs one disk flush however many it holds."""

LONG_LOG = 1 << 26
"""Size of SQLite's log, in bytes, from which it is written back into the file."""

_Write = tuple[Sequence[Statement], "asyncio.Future[RowIds] | threading.Event"]
"""The statements to write, and the future or event of the caller that waits for them."""


class Writer:
    """A writer that takes statements from any thread and commits them in groups.

    A failed write stops all writing, because nothing may be acknowledged after something was lost. A file that was
    moved or replaced stops it too, because commits to a deleted file are gone when the process ends.

    Args:
        path: the file; created, or upgraded to the present layout.
        beside: other files that must not be moved or replaced.

    Raises:
        sqlite3.DatabaseError: the file cannot be opened.
        OSError: its seal cannot be written.
    """

    def __init__(self, path: Path, beside: Iterable[Path] = ()) -> None:
        self._path = path
        # Opened here, so that the caller gets the error of a failed opening; afterwards only the thread uses it.
        self._db = _open(path)
        prepare(self._db)
        run, self._commits = identity_in(self._db)
        self._sealer = Sealer(path, run, self._commits)
        self._held = HeldFiles([path, *beside])
        self._writes: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._broken: DiskError | None = None
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    def put(self, statements: Sequence[Statement]) -> asyncio.Future[RowIds]:
        """Queue statements of which all or none are written, and return a future.

        Its result, set after the commit, is the id of the row that each statement inserted.

        Raises:
            DiskError: through the future.
        """
        future: asyncio.Future[RowIds] = asyncio.get_running_loop().create_future()
        self._writes.put((statements, future))
        return future

    def flush(self, seconds: float) -> None:
        """Wait until all pending writes are committed, *seconds* at most. May be called from a signal handler."""
        done = threading.Event()
        self._writes.put(([], done))
        done.wait(seconds)

    def check_held(self) -> None:
        """Check that the ledger and the files beside it were not moved or replaced.

        Raises:
            DiskError: a file is gone, or another file has its name.
        """
        self._held.check()

    def close(self, sound: bool = True) -> None:
        """Commit all pending writes, end the thread, and leave everything in the one file, sealed.

        Args:
            sound: True if no damage was found in the file.
        """
        self._writes.put(None)
        self._thread.join()
        whole = False
        # A failure here leaves the files as a killed run does: nothing is lost, and the next run checks them.
        with suppress(DiskError, OSError, sqlite3.Error):
            self._held.check()
            self._sealer.open()  # SQLite also writes the log back when the connection closes
            whole = self._broken is None and self._write_back("TRUNCATE")
        self._db.close()
        with suppress(OSError):
            self._sealer.close(whole and sound)

    @property
    def _log(self) -> Path:
        return self._path.with_name(f"{self._path.name}-wal")

    def _work(self) -> None:
        tidied = 0
        while True:
            writes, last = self._gather()
            if writes:
                self._commit(self._db, writes)
                tidied = self._tidy(tidied)
            if last:
                return

    def _gather(self) -> tuple[list[_Write], bool]:
        """Return the writes that are queued, waiting for at least one, and whether the thread has to end."""
        writes: list[_Write] = []
        write = self._writes.get()
        while write is not None:
            writes.append(write)
            if len(writes) == _MOST or self._writes.empty():
                return writes, False
            write = self._writes.get()
        return writes, True

    def _commit(self, db: sqlite3.Connection, writes: list[_Write]) -> None:
        # The write of a cancelled future is still written, because it may hold an answer that was paid for.
        done: list[RowIds | Exception]
        try:
            if self._broken is not None:
                raise self._broken
            try:
                done = _all(db, writes)
            except _UNFIT:
                # One write holds a value that SQLite does not accept; the others must not be lost with it.
                db.execute("ROLLBACK")
                db.execute("BEGIN IMMEDIATE")
                done = _each(db, writes)
            db.execute("UPDATE meta SET value = ? WHERE key = 'commits'", (str(self._commits + 1),))
            db.execute("COMMIT")
            self._commits += 1
            self._sealer.count(self._commits)
            self._held.hold(self._log)
            # Between the commit and its acknowledgement, so that no call is sent whose intent is in a removed file.
            self._held.check()
        except Exception as error:
            if db.in_transaction:
                with suppress(sqlite3.Error):  # this fails too if the disk is gone, and the callers must be told
                    db.execute("ROLLBACK")
            self._broken = self._broken or self._fault(error)
            _acknowledge(writes, [self._broken] * len(writes))
        else:
            _acknowledge(writes, done)
            with suppress(OSError, sqlite3.Error):  # a failure loses nothing, because the log holds every commit
                if self._log.stat().st_size >= LONG_LOG:
                    self._write_back("PASSIVE")

    def _tidy(self, before: int) -> int:
        """Tidy the index of keys, and return what the next call is to be given; see :func:`tidy`."""
        try:
            return before if self._broken else tidy(self._db, before)
        except sqlite3.Error:  # a failure loses nothing, because every row is found in an untidy index too
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            return before

    def _write_back(self, how: str) -> bool:
        """Write the log back into the file, and return whether no other connection hindered that."""
        self._sealer.open()
        busy: int = self._db.execute(f"PRAGMA wal_checkpoint({how})").fetchone()[0]
        return not busy

    def _fault(self, error: Exception) -> DiskError:
        if isinstance(error, DiskError):
            return error
        if is_corrupt(error):
            return damaged(self._path, str(error))
        return DiskError(
            f"{self._path}: cannot be written: {error}; everything committed so far is kept: make room on the "
            "disk, or make the file writable, and give the same command again"
        )


def open_writer(path: Path, beside: Iterable[Path] = ()) -> Writer:
    """Return a writer of the ledger at *path*.

    Raises:
        DiskError: the file cannot be opened.
    """
    try:
        return Writer(path, beside)
    except UNREADABLE as error:
        raise fault(path, error) from error
    except OSError as error:
        raise DiskError(f"{path}: cannot be opened: {error.strerror or error}") from error


_Result = tuple["asyncio.Future[RowIds]", RowIds | Exception]
"""The future of a write, and the write's result or error."""

_UNFIT: tuple[type[Exception], ...]
_UNFIT = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
_UNFIT += (OverflowError, TypeError, ValueError)
"""Errors that are caused by a value, not by the file."""


def _all(db: sqlite3.Connection, writes: Sequence[_Write]) -> list[RowIds | Exception]:
    """Execute all writes in a new transaction, which the caller commits, and return their row ids."""
    db.execute("BEGIN IMMEDIATE")
    return [_row_ids(db, statements) for statements, _ in writes]


def _each(db: sqlite3.Connection, writes: Sequence[_Write]) -> list[RowIds | Exception]:
    """Execute every write that can be executed, each completely or not at all; the others get an error as result."""
    done: list[RowIds | Exception] = []
    for statements, _ in writes:
        db.execute("SAVEPOINT one_write")
        try:
            done.append(_row_ids(db, statements))
        except _UNFIT as error:
            db.execute("ROLLBACK TO one_write")
            done.append(ValueError(f"the ledger cannot store the value: {type(error).__name__}: {error}"))
        db.execute("RELEASE one_write")
    return done


def _row_ids(db: sqlite3.Connection, statements: Sequence[Statement]) -> RowIds:
    return {statement: statement.execute(db) for statement in statements}


def _acknowledge(writes: Sequence[_Write], results: Sequence[RowIds | Exception]) -> None:
    """Pass each result to the caller that waits for it.

    Each event loop is woken only once, because waking it takes as long as writing a row.
    """
    ready: dict[asyncio.AbstractEventLoop, list[_Result]] = {}
    for (_, waiting), result in zip(writes, results, strict=True):
        if isinstance(waiting, threading.Event):
            waiting.set()
        else:
            ready.setdefault(waiting.get_loop(), []).append((waiting, result))
    for loop, some in ready.items():
        with suppress(RuntimeError):  # the event loop was closed meanwhile
            loop.call_soon_threadsafe(_set_results, some)


def _set_results(ready: Sequence[_Result]) -> None:
    for future, result in ready:
        if future.done():  # the caller no longer waits
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # Each commit is flushed to disk before it is acknowledged: a power failure must not lose a paid answer.
    db.execute("PRAGMA synchronous = FULL")
    # The keys of samples are hashes, so every write hits a different page; with a small cache many are read again.
    db.execute("PRAGMA cache_size = -65536")
    # Only the writer writes the log back, because it has to open the seal first; the log is then cut to zero bytes.
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("PRAGMA journal_size_limit = 0")
    return db
