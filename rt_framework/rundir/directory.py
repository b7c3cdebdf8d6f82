"""A run directory: its lock, its ledger, and what may not change between two runs in it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
from rt_framework.rundir.disk import check_kind, check_room

LEDGER = "ledger.sqlite"
MANIFEST = "manifest.json"
SCORES = "scores.jsonl"
MERGING = ".merging.sqlite"
"""The ledger of shards that are being put together, until it is whole."""

PROGRESS = "progress.json"
"""What the run that owns the directory has done so far, for who watches it from outside."""

PILOT = "pilot"
"""Folder of a pilot's outputs, so that those beside the ledger are always of the whole job."""


LOCK = "run.lock"
OWNER = "run.owner"

_NAMING = 2.0
"""Seconds in which a new owner has said who it is."""


def default_dir(path: Path, shard: str | None) -> Path:
    """Where a run goes if nothing is said: ``runs/`` and the config's name, and the shard's if it is one."""
    return Path("runs") / (path.stem if shard is None else f"{path.stem}-shard-{shard.replace('/', '-of-')}")


@contextmanager
def open_run(path: Path, need: int = 0) -> Iterator[Ledger]:
    """The ledger of a run directory that is ours alone until the block ends.

    Args:
        path: the directory; made if it is not there.
        need: bytes that there has to be room for, see :func:`rt_framework.rundir.disk.room`.

    Raises:
        LockedError: another process owns it; the message names it.
        DiskError: the directory cannot be made or written, is on a network file system, has too little room, or holds
            a damaged ledger.
        DataError: a merge into it was killed.
        ConfigError: it holds files of others where a run has its own.
    """
    with alone(path, need):
        if (path / MERGING).exists():
            raise DataError(f"{path}: a merge into it did not come to its end; give 'rt merge' again")
        check_run(path)
        ledger = Ledger(path / LEDGER, beside=[path / LOCK])
        try:
            yield ledger
        finally:
            ledger.close()


def look(path: Path) -> Ledger:
    """The ledger of a run directory, for looking only: one that a run is writing to, or one that is whole.

    Raises:
        DataError: there is none, or none of this version.
        DiskError: it is damaged.
    """
    if owner(path) is None:
        files = [path / name for name in (MANIFEST, LEDGER, f"{LEDGER}-wal", f"{LEDGER}-seal")]
        _checked(path, tuple(map(_now, files)))
    return Ledger(path / LEDGER, readonly=True)


@lru_cache(maxsize=16)
def _checked(path: Path, _files: tuple[object, ...]) -> None:
    """Check a directory once for as long as its files stay as they are: some commands read it several times."""
    check_run(path)


def _now(file: Path) -> tuple[int, ...] | None:
    with suppress(OSError):
        found = file.stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
    return None


def check_run(path: Path) -> None:
    """Whether the ledger of a directory that nobody writes to is whole, and is that of which its manifest tells.

    Raises:
        DiskError: it is not.
    """
    told = None
    with suppress(Exception):  # there is none, or one of before, or it is damaged itself
        told = cattrs.structure(json.loads((path / MANIFEST).read_bytes())["ledger"], Told)
    check_ledger(path / LEDGER, told)


@contextmanager
def alone(path: Path, need: int = 0) -> Iterator[None]:
    """Own a directory until the block ends.

    Raises:
        LockedError, DiskError: as :func:`open_run`.
        ConfigError: it holds files of others where a run has its own.
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
            (path / PROGRESS).unlink(missing_ok=True)  # of a run that was killed
            _own(path)
        yield
    finally:
        # The disk may have become read-only, or the directory another one; what went wrong there is being told.
        with suppress(OSError, DiskError):
            held.check()
            (path / OWNER).unlink(missing_ok=True)
            (path / PROGRESS).unlink(missing_ok=True)
        lock.release()


def pilot_dir(path: Path) -> Path:
    """The folder of a pilot's outputs in a run directory, made if it is not there.

    Raises:
        DiskError: it cannot be made.
    """
    with _usable(path):
        (path / PILOT).mkdir(exist_ok=True)
    return path / PILOT


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Makes what the system says of a directory one line."""
    try:
        yield
    except Timeout:
        raise LockedError(f"{path}: in use by {_owner(path)}; wait for it, or choose another --run-dir") from None
    except OSError as error:
        raise DiskError(f"{path}: cannot be used as a run directory: {error.strerror or error}") from error


def _own(path: Path) -> None:
    """Say who owns the directory, down to the disk: the first thing that is written says whether it can be."""
    with (path / OWNER).open("w", encoding="utf-8") as file:
        file.write(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        file.flush()
        os.fsync(file.fileno())


def _owner(path: Path) -> str:
    """Who owns the directory. It locks first and says so next."""
    deadline = time.monotonic() + _NAMING
    while time.monotonic() < deadline:
        found = owner(path)
        if found:
            return found
        time.sleep(0.02)
    return "another process"


def owner(path: Path) -> str | None:
    """Who owns the directory now, in words. Only looks: to try the lock would keep a run from taking it."""
    with suppress(OSError, OverflowError, ValueError, KeyError, TypeError):
        found = json.loads((path / OWNER).read_text("utf-8"))
        if found["host"] != platform.node() or _lives(found["pid"]):  # else it was killed and has left its name
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
    """Note what this run stands on, or refuse when the directory stands on something else.

    Args:
        moved: whether the teacher may be asked at another place than before; every place is remembered.

    Raises:
        ConfigError: as :func:`check_frozen`.
    """
    check_frozen(ledger, path, facts, moved)
    known = ledger.meta("frozen") or {}
    if "place" in facts:
        before = [UNRECORDED] if "teacher" in known and "place" not in known and ledger.attempt_counts() else []
        places = dict.fromkeys((*(ledger.meta("places") or before), facts["place"]))
        await ledger.set_meta("places", list(places))
    await ledger.set_meta("frozen", {**known, **facts})


async def remember_run(ledger: Ledger, progress: Progress) -> None:
    """Note what a run of the directory did, however it ended; one that was killed is not among them."""
    did = {"seconds": progress.seconds, "requests": progress.calls, "student_tokens": progress.forward_tokens}
    await ledger.set_meta("runs", [*(ledger.meta("runs") or ()), did])


def check_frozen(ledger: Ledger, path: Path, facts: Mapping[str, Any], moved: bool = False) -> None:
    """Whether a run directory stands on these facts. Those that one run does not have (no teacher, say) are no change.

    Args:
        moved: whether the teacher may be asked at another place than before.

    Raises:
        ConfigError: with every difference.
    """
    known = ledger.meta("frozen") or {}
    compared = [key for key in facts if key in known and not (moved and key == "place")]
    changed = {key: lines for key in compared if (lines := differences(key, known[key], facts[key]))}
    if changed:
        told = "; ".join(line for lines in changed.values() for line in lines)
        server = "; if only the server has moved and the model is the same, give --moved" if "place" in changed else ""
        raise ConfigError(
            f"{path} was begun with something else; use another --run-dir, or change back: {told}{server}"
        )


def differences(place: str, old: Any, new: Any) -> list[str]:
    """Every value that differs, with the path that leads to it."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys((*old, *new))
        return [line for key in keys for line in differences(f"{place}.{key}", old.get(key), new.get(key))]
    return [] if old == new else [f"{place}: {old} → {new}"]
