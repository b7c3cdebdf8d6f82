"""The seal beside a ledger: what the ledger must hold, said in a file of its own, so that a loss can be noticed.

SQLite notices neither a changed letter inside a text, nor a log that was deleted or cut: it opens what is left.
So the seal counts the commits, and holds a hash of the whole file from a clean end on, for as long as nothing is
written back into the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import cattrs
from attrs import asdict, evolve, frozen

from rt_framework.errors import DiskError

_LENGTH = 256
"""Bytes of a seal, always the same: it is written over itself after each commit."""


@frozen
class Seal:
    """What a ledger must hold."""

    run: str
    """Who the run directory is, as the ledger says too: another ledger has another seal."""
    commits: int
    """Least number of commits: so many were acknowledged."""
    closed: bool = False
    """Whether the last run ended by itself, so that everything is in the one file."""
    digest: str | None = None
    """SHA-256 of the file without its log; ``None`` once the log may have been written back into it."""

    def text(self) -> bytes:
        """Its form on disk."""
        return json.dumps(asdict(self)).ljust(_LENGTH - 1).encode("ascii") + b"\n"


def seal_of(ledger: Path) -> Seal | None:
    """The seal of a ledger; ``None`` if there is none that can be read: then less can be noticed, and no more."""
    try:
        return cattrs.structure(json.loads(beside(ledger, "seal").read_bytes()), Seal)
    except Exception:  # a copy of the ledger alone is a ledger too
        return None


def beside(ledger: Path, what: str) -> Path:
    """A file beside a ledger: its ``seal``, or SQLite's log, ``wal``."""
    return ledger.with_name(f"{ledger.name}-{what}")


class Sealer:
    """Keeps the seal of a ledger that is written to.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, ledger: Path, run: str, commits: int) -> None:
        self._ledger = ledger
        known = seal_of(ledger)
        self._seal = Seal(run, commits, digest=known.digest if known else None)
        self._file = os.open(beside(ledger, "seal"), os.O_WRONLY | os.O_CREAT, 0o666)
        self._write(sync=True)

    def count(self, commits: int) -> None:
        """Note that so many commits were made.

        It is not synced. A kill loses nothing of it; when the power fails, what is left is an older count at worst.
        """
        self._seal = evolve(self._seal, commits=commits)
        self._write()

    def open(self) -> None:
        """Note that the file is about to change."""
        if self._seal.digest is not None:
            self._seal = evolve(self._seal, digest=None)
            self._write(sync=True)

    def close(self, whole: bool) -> None:
        """Let go of it.

        Args:
            whole: the run ended by itself and everything is in the one file, which is closed.
        """
        try:
            if whole:
                self._seal = evolve(self._seal, closed=True, digest=digest_of(self._ledger))
                self._write(sync=True)
        finally:
            os.close(self._file)

    def _write(self, sync: bool = False) -> None:
        os.pwrite(self._file, self._seal.text(), 0)
        if sync:
            os.fsync(self._file)


class HeldFiles:
    """Files that have to stay where they are, and who they are, while a run pays for what goes into them."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._known: dict[Path, tuple[int, int] | None] = {}
        for path in paths:
            self.hold(path)

    def hold(self, path: Path) -> None:
        """Remember who a file is, if that is not known yet."""
        if self._known.get(path) is None:
            self._known[path] = _identity(path)

    def check(self) -> None:
        """Whether all of them are there still.

        Raises:
            DiskError: one is gone, or another file has its name.
        """
        for path, known in self._known.items():
            if _identity(path) != known:
                raise DiskError(
                    f"{path}: was removed or replaced while the run was at work, so nothing more is asked and no "
                    "output is written; put the run directory back as it was and give the same command again"
                )


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
