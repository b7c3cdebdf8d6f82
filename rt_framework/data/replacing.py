"""The one way to write a file or folder: completely or not at all, and only over files that may be replaced."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rt_framework.data.destinations import Destination, check
from rt_framework.data.marks import MARK, mark_folder, note
from rt_framework.errors import DiskError

ROOM = ".rt-part-"
"""Prefix of the name of a temporary folder. The rest is random, and the folder is made only where nothing is."""

_FRESH = 60.0
"""Age in seconds by which a temporary folder has been locked by its owner; a younger one is not removed."""


@contextmanager
def whole(destination: Destination, lasting: bool = True, marked: bool = True) -> Iterator[Path]:
    """Give a path to write to, of the same name; it becomes *destination* on success, and is removed on failure.

    A folder that is replaced is missing only for the moment between two renames.

    Args:
        destination: a destination that was claimed; what is there by now is checked again.
        lasting: flush the result to disk before it replaces what was there.
        marked: mark a folder as one that rt may replace; without a mark the folder counts as the user's.

    Raises:
        ConfigError: something has appeared there that must not be replaced.
        DiskError: the destination cannot be written.
    """
    check(destination)
    path = destination.real
    try:
        if destination.record is None or path.parent != destination.record.resolve():
            path.parent.mkdir(parents=True, exist_ok=True)  # a run directory that was removed is not made again
        with _room(path.parent) as room:
            part = room / "new" / path.name
            yield part
            if part.is_dir() and marked:
                mark_folder(part)
            if lasting:
                _sync(part)
            check(destination)
            if destination.record is not None:
                note(destination.record, destination.name)
            _replace(part, path, room)
        if lasting:
            _sync_one(path.parent)
    except OSError as error:
        raise DiskError(f"{destination}: cannot be written: {error.strerror or error}") from error


@contextmanager
def _room(parent: Path) -> Iterator[Path]:
    """Make a temporary folder beside the destination, on the same disk, and remove it when the block ends."""
    _sweep(parent)
    room = Path(tempfile.mkdtemp(prefix=ROOM, dir=parent))
    lock = FileLock(room / MARK)
    try:
        with suppress(OSError, NotImplementedError, Timeout):  # where locks fail, they fail in _sweep too
            lock.acquire(blocking=False)
        (room / "new").mkdir()
        yield room
    finally:
        lock.release()
        shutil.rmtree(room, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove temporary folders of writers that were killed: those with rt's name and mark that no process locks."""
    for room in parent.glob(f"{ROOM}*"):
        mark = room / MARK
        with suppress(OSError, NotImplementedError, Timeout):
            # The folder of a writer that was killed between its two renames holds the only copy of what it replaced.
            if room.is_symlink() or time.time() - mark.lstat().st_mtime < _FRESH or (room / "old").exists():
                continue
            with FileLock(mark).acquire(blocking=False):
                shutil.rmtree(room, ignore_errors=True)


def _sync(path: Path) -> None:
    for inner in path.rglob("*") if path.is_dir() else ():
        _sync_one(inner)
    _sync_one(path)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(part: Path, path: Path, room: Path) -> None:
    """Rename *part* to *path*. A folder cannot be renamed over something else, so that is moved aside first."""
    if not part.is_dir() or not path.exists():
        part.replace(path)
        return
    (room / "old").mkdir()
    aside = room / "old" / path.name
    path.rename(aside)
    try:
        part.replace(path)
    except OSError:
        aside.rename(path)
        raise
