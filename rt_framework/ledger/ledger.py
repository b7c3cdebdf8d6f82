"""The memory of a run: one SQLite file that holds every paid answer and every computed loss.

A run is resumed by running it again: an answer or loss that is found here is not asked for or computed twice. One
thread owns the only writable connection and commits many writes at once; an ``await`` on a write returns after its
commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from rt_framework.errors import DataError
from rt_framework.ledger.attempts import AttemptTable
from rt_framework.ledger.batches import BatchTable
from rt_framework.ledger.calls import CallTable
from rt_framework.ledger.costs import Costs
from rt_framework.ledger.damage import TOLD, Told
from rt_framework.ledger.database import Database
from rt_framework.ledger.losses import LossTable, VectorTable
from rt_framework.ledger.samples import SampleTable
from rt_framework.ledger.statements import Statement, as_json
from rt_framework.ledger.writer import open_writer


class Ledger:
    """A ledger, opened by :meth:`writing` or :meth:`reading` for a ``with`` block, and its tables.

    Every method that reads, here and in the tables, raises :class:`DiskError` if the file is damaged.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.calls = CallTable(database)
        self.attempts = AttemptTable(database)
        self.batches = BatchTable(database)
        self.costs = Costs(database)
        self.losses = LossTable(database)
        self.samples = SampleTable(database)
        self.vectors = VectorTable(database)

    @classmethod
    def writing(cls, path: Path, beside: Iterable[Path] = ()) -> Self:
        """Open a ledger that is read directly and written through one thread.

        Args:
            path: the file; created, or brought up to date.
            beside: files that must not be moved or replaced while the ledger is written to.

        Raises:
            DataError: the file is not a ledger of this version.
            DiskError: the file cannot be written, or is damaged.
        """
        return cls(Database(path, open_writer(path, beside)))

    @classmethod
    def reading(cls, path: Path) -> Self:
        """Open a ledger to read only; nothing is created or changed.

        Raises:
            DataError: the file is missing, or is not a ledger of this version.
            DiskError: the file is damaged.
        """
        if not path.is_file():
            raise DataError(f"{path}: no ledger here; is this a run directory?")
        return cls(Database(path, None))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Commit all pending writes and close the file."""
        self.database.close()

    def flush(self, seconds: float) -> None:
        """Wait until all pending writes are committed, *seconds* at most. May be called from a signal handler."""
        self.database.flush(seconds)

    def check(self) -> None:
        """Check the whole file, before outputs are made from it.

        Raises:
            DiskError: the file is damaged, or was moved or replaced.
        """
        self.database.check()

    def meta(self, key: str) -> Any:
        """Return a value noted about the whole run, or ``None``."""
        row = self.database.first("SELECT value FROM meta WHERE key = ?", (key,))
        return None if row is None else self.database.parsed(row[0], object, "meta", key)

    async def set_meta(self, key: str, value: Any) -> None:
        """Note a JSON value about the whole run."""
        await self.database.write([Statement("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, as_json(value)))])

    def told(self) -> Told:
        """Return the statement about this ledger that the manifest keeps for later checks."""
        return Told.of(self.database.first(TOLD))
