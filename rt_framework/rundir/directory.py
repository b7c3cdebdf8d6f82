"""A run directory: its lock, its ledger, and what may not change between two runs in it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import cattrs
from filelock import FileLock, Timeout

from rt_framework.data import Destination, check, note
from rt_framework.errors import ConfigError, DataError, DiskError, LockedError
from rt_framework.events import Progress
from rt_framework.kit.places import UNRECORDED
from rt_framework.ledger import HeldFiles, Ledger, Told, check_ledger
from rt_framework.rundir.changed_lines import changed_lines
from rt_framework.rundir.disk import check_kind, check_room

LEDGER = "ledger.sqlite"
MANIFEST = "manifest.json"
SCORES = "scores.jsonl"
MERGING = ".merging.sqlite"
"""Name of the ledger that a merge of shards writes, until the merge is complete."""

PROGRESS = "progress.json"
"""File with the progress of the run that owns the directory, for processes that watch the run from outside."""

PILOT = "pilot"
"""Folder of a pilot's outputs, so that the outputs beside the ledger are always those of the whole job."""


LOCK = "run.lock"
OWNER = "run.owner"

_NAMING = 2.0
"""Seconds within which a process that has just taken the lock has written the owner file."""


def default_dir(path: Path, shard: str | None) -> Path:
    """Return the default run directory: ``runs/`` and the name of the config file, with the shard if there is one."""
    return Path("runs") / (path.stem if shard is None else f"{path.stem}-shard-{shard.replace('/', '-of-')}")


@contextmanager
def open_run(path: Path, need: int = 0) -> Iterator[Ledger]:
    """Lock a run directory and yield its ledger; both are released when the block ends.

    Args:
        path: the directory; created if it does not exist.
        need: bytes of free disk space that the run needs, see :func:`rt_framework.rundir.disk.room`.

    Raises:
        LockedError: another process owns the directory; the message names the process.
        DiskError: the directory cannot be made or written, is on a network file system, has too little room, or holds
            a damaged ledger.
        DataError: a merge into the directory was killed.
        ConfigError: the directory holds foreign files under the names of a run's own files.
    """
    with alone(path, need):
        if (path / MERGING).exists():
            raise DataError(f"{path}: a merge into it was not completed; give 'rt merge' again")
        check_run(path)
        with Ledger.writing(path / LEDGER, beside=[path / LOCK]) as ledger:
            yield ledger


@contextmanager
def look(path: Path) -> Iterator[Ledger]:
    """Yield the ledger of a run directory, opened to read only; if no run is at work, check first that it is whole.

    Raises:
        DataError: there is no ledger, or its version is another one.
        DiskError: the ledger is damaged.
    """
    if owner(path) is None:
        files = [path / name for name in (MANIFEST, LEDGER, f"{LEDGER}-wal", f"{LEDGER}-seal")]
        _checked(path, tuple(map(_now, files)))
    with Ledger.reading(path / LEDGER) as ledger:
        yield ledger


@lru_cache(maxsize=16)
def _checked(path: Path, _files: tuple[object, ...]) -> None:
    """Check a directory once, and again only if its files change: some commands read it several times."""
    check_run(path)


def _now(file: Path) -> tuple[int, ...] | None:
    with suppress(OSError):
        found = file.stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return None


def check_run(path: Path) -> None:
    """Check that the ledger of a directory that no run is writing to is whole and is the one its manifest describes.

    Raises:
        DiskError: the ledger is damaged, lost, or another one.
    """
    told = None
    with suppress(Exception):  # no manifest, one of an older release, or a damaged one
        told = cattrs.structure(json.loads((path / MANIFEST).read_bytes())["ledger"], Told)
    check_ledger(path / LEDGER, told)


@contextmanager
def alone(path: Path, need: int = 0) -> Iterator[None]:
    """Hold the lock of a directory until the block ends.

    Raises:
        LockedError, DiskError: as :func:`open_run`.
        ConfigError: the directory holds foreign files under the names of a run's own files.
    """
    check(Destination(path, "--run-dir", "run"))
    check_kind(path)
    with _usable(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK)
        lock.acquire(blocking=False)
    held = HeldFiles([path / LOCK])
    try:
        with _usable(path):
            check_room(path, need)
            note(path)
            (path / PROGRESS).unlink(missing_ok=True)  # left by a run that was killed
            _own(path)
        yield
    finally:
        # The disk may have become read-only, or the directory been replaced; that problem is already being reported.
        with suppress(OSError, DiskError):
            held.check()
            (path / OWNER).unlink(missing_ok=True)
            (path / PROGRESS).unlink(missing_ok=True)
        lock.release()


def pilot_dir(path: Path) -> Path:
    """Return the folder of a pilot's outputs in a run directory; create it if it does not exist.

    Raises:
        DiskError: the folder cannot be created.
    """
    with _usable(path):
        (path / PILOT).mkdir(exist_ok=True)
    return path / PILOT


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Turn operating system errors about a directory into errors with a message of one line."""
    try:
        yield
    except Timeout:
        raise LockedError(
            f"{path}: in use by {_owner(path)}; wait until it ends, or choose another --run-dir"
        ) from None
    except OSError as error:
        raise DiskError(f"{path}: cannot be used as a run directory: {error.strerror or error}") from error


def _own(path: Path) -> None:
    """Write the owner file and sync it to disk, which also shows early whether the directory can be written."""
    with (path / OWNER).open("w", encoding="utf-8") as file:
        file.write(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        file.flush()
        os.fsync(file.fileno())


def _owner(path: Path) -> str:
    """Return the owner in words, waiting a moment for it: an owner takes the lock before it writes the owner file."""
    deadline = time.monotonic() + _NAMING
    while time.monotonic() < deadline:
        found = owner(path)
        if found:
            return found
        time.sleep(0.02)
    return "another process"


def owner(path: Path) -> str | None:
    """Return the owner of the directory in words, or ``None``. Never tries the lock, which could block a run."""
    with suppress(OSError, OverflowError, ValueError, KeyError, TypeError):
        found = json.loads((path / OWNER).read_text("utf-8"))
        if found["host"] != platform.node() or _lives(found["pid"]):  # else it was killed and its file left
            return f"process {found['pid']} on {found['host']}"
    return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def freeze(ledger: Ledger, path: Path, facts: Mapping[str, Any], moved: bool = False) -> None:
    """Record the facts that this run depends on, or refuse if the directory was begun with other facts.

    Args:
        moved: whether the teacher may be asked at another place than before; every place is recorded.

    Raises:
        ConfigError: as :func:`check_frozen`.
    """
    check_frozen(ledger, path, facts, moved)
    known = ledger.meta("frozen") or {}
    now = [facts[name] for name in facts if is_place(name)]
    if now:
        before = [UNRECORDED] if "teacher" in known and "place" not in known and ledger.attempts.counts() else []
        places = dict.fromkeys((*(ledger.meta("places") or before), *now))
        await ledger.set_meta("places", list(places))
    await ledger.set_meta("frozen", {**known, **facts})


async def remember_run(ledger: Ledger, progress: Progress) -> None:
    """Record the effort of a run, however the run ended; only a killed run is not recorded."""
    did = {
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": progress.seconds,
        "requests": progress.teacher.calls,
        "student_tokens": progress.student.tokens,
    }
    await ledger.set_meta("runs", [*(ledger.meta("runs") or ()), did])


def check_frozen(ledger: Ledger, path: Path, facts: Mapping[str, Any], moved: bool = False) -> None:
    """Check that a directory was begun with these facts. A fact that only one run has (no teacher, say) is no change.

    Args:
        moved: whether the teacher may be asked at another place than before.

    Raises:
        ConfigError: some facts differ; the message lists every difference.
    """
    known = ledger.meta("frozen") or {}
    compared = [key for key in facts if key in known and not (moved and is_place(key))]
    changed = {key: lines for key in compared if (lines := differences(key, known[key], facts[key]))}
    if changed:
        told = "; ".join(line for lines in changed.values() for line in lines)
        moved_only = "; if only the server has moved and the model is the same, give --moved"
        server = moved_only if any(map(is_place, changed)) else ""
        raise ConfigError(
            f"{path} was started with other settings; use another --run-dir, or change them back: {told}{server}"
        )


def is_place(fact: str) -> bool:
    """Return whether a frozen fact is the place at which a teacher is asked: ``place``, or with a teacher's name."""
    return fact.split(" ")[0] == "place"


def differences(place: str, old: Any, new: Any) -> list[str]:
    """Return a line for every value that differs, with the path of keys that leads to it."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys((*old, *new))
        return [line for key in keys for line in differences(f"{place}.{key}", old.get(key), new.get(key))]
    if old == new:
        return []
    is_text = isinstance(old, str) and isinstance(new, str) and "\n" in f"{old}{new}"
    return [f"{place}: {changed_lines(old, new) if is_text else f'{old} → {new}'}"]
