"""The seal beside a ledger: a small file that states what the ledger must hold, so that a loss is noticed.

SQLite notices neither a changed letter inside a text nor a log that was deleted or cut: it opens what is left.
So the seal counts the commits. After a clean end it also holds a hash of the whole file, which stays valid until the
log is next written back into the file.
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
"""Fixed length of a seal in bytes, because it is overwritten in place after each commit."""


@frozen
class Seal:
    """A statement of what a ledger must hold."""

    run: str
    """Id of the run, which the ledger holds too, so that a seal does not fit another ledger."""
    commits: int
    """Least number of commits that the ledger must hold, since so many were acknowledged."""
    closed: bool = False
    """True if the last run ended cleanly, so that everything is in the one file and nothing in the log."""
    digest: str | None = None
    """SHA-256 of the file without its log; ``None`` once the log may have been written back into it."""

    def text(self) -> bytes:
        """Return the bytes of the seal on disk."""
        return json.dumps(asdict(self)).ljust(_LENGTH - 1).encode("ascii") + b"\n"


def seal_of(ledger: Path) -> Seal | None:
    """Return the seal of a ledger; ``None`` if none can be read, in which case fewer kinds of damage are noticed."""
    try:
        return cattrs.structure(json.loads(beside(ledger, "seal").read_bytes()), Seal)
    except Exception:  # a ledger that was copied without its seal is still usable
        return None


def beside(ledger: Path, what: str) -> Path:
    """Return the path of a file beside a ledger: its ``seal``, or SQLite's log, ``wal``."""
    return ledger.with_name(f"{ledger.name}-{what}")


class Sealer:
    """The writer of the seal while its ledger is written to.

    Raises:
        OSError: the seal cannot be written.
    """

    def __init__(self, ledger: Path, run: str, commits: int) -> None:
        self._ledger = ledger
        known = seal_of(ledger)
        self._seal = Seal(run, commits, digest=known.digest if known else None)
        self._file = os.open(beside(ledger, "seal"), os.O_WRONLY | os.O_CREAT, 0o666)
        self._write(sync=True)

    def count(self, commits: int) -> None:
        """Write the number of commits into the seal.

        The file is not synced. A killed process loses nothing of it; a power failure leaves an older count at worst.
        """
        self._seal = evolve(self._seal, commits=commits)
        self._write()

    def open(self) -> None:
        """Remove the hash from the seal, because the file is about to change."""
        # Synced before the change, so that a crash never leaves a changed file beside the hash of the old one.
        if self._seal.digest is not None:
            self._seal = evolve(self._seal, digest=None)
            self._write(sync=True)

    def close(self, whole: bool) -> None:
        """Close the seal, and add the hash of the ledger if that is complete.

        Args:
            whole: True if the run ended cleanly and everything is in the one file, which is closed.
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
    """Files that must not be moved or replaced while a run pays for what it writes into them, with their identities."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._known: dict[Path, tuple[int, int] | None] = {}
        for path in paths:
            self.hold(path)

    def hold(self, path: Path) -> None:
        """Remember the identity (device and inode) of a file, if it is not known yet."""
        if self._known.get(path) is None:
            self._known[path] = _identity(path)

    def check(self) -> None:
        """Check that all of these files are still in place.

        Raises:
            DiskError: a file is gone, or another file has its name.
        """
        for path, known in self._known.items():
            if _identity(path) != known:
                raise DiskError(
                    f"{path}: was removed or replaced while the run was at work, so nothing more is asked and no "
                    "output is written; put the run directory back as it was and give the same command again"
                )


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def digest_of(path: Path) -> str:
    """Return the SHA-256 hash of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
