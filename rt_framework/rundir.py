"""A run directory: its lock, its ledger, and what may not change between two runs in it."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from rt_framework.destinations import Destination, check
from rt_framework.disk import check_kind, check_room
from rt_framework.errors import ConfigError, DataError, DiskError, LockedError
from rt_framework.events import Progress
from rt_framework.ledger import Ledger
from rt_framework.marks import note

LEDGER = "ledger.sqlite"
MANIFEST = "manifest.json"
SCORES = "scores.jsonl"
MERGING = ".merging.sqlite"
"""The ledger of shards that are being put together, until it is whole."""

PROGRESS = "progress.json"
"""What the run that owns the directory has done so far, for who watches it from outside."""

PILOT = "pilot"
"""Folder of a pilot's outputs, so that those beside the ledger are always of the whole job."""


_OWNER = "run.owner"

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
        need: bytes that there has to be room for, see :func:`rt_framework.disk.room`.

    Raises:
        LockedError: another process owns it; the message names it.
        DiskError: the directory cannot be made or written, is on a network file system, or has too little room.
        DataError: a merge into it was killed.
        ConfigError: it holds files of others where a run has its own.
    """
    with alone(path, need) as unclean:
        if (path / MERGING).exists():
            raise DataError(f"{path}: a merge into it did not come to its end; give 'rt merge' again")
        ledger = Ledger(path / LEDGER)
        try:
            if unclean:
                ledger.check()
            yield ledger
        finally:
            ledger.close()


@contextmanager
def alone(path: Path, need: int = 0) -> Iterator[bool]:
    """Own a directory until the block ends; gives whether its last owner left it without a word.

    Raises:
        LockedError, DiskError: as :func:`open_run`.
        ConfigError: it holds files of others where a run has its own.
    """
    check(Destination(path, "--run-dir", "run"))
    check_kind(path)
    with _usable(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / "run.lock")
        lock.acquire(blocking=False)
    try:
        with _usable(path):
            check_room(path, need)
            note(path)
            unclean = (path / _OWNER).exists()
            (path / PROGRESS).unlink(missing_ok=True)  # of a run that was killed
            _own(path)
        yield unclean
    finally:
        with suppress(OSError):  # The disk may have become read-only; what went wrong there is being told.
            (path / _OWNER).unlink(missing_ok=True)
            (path / PROGRESS).unlink(missing_ok=True)
        lock.release()


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
    with (path / _OWNER).open("w", encoding="utf-8") as file:
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
        found = json.loads((path / _OWNER).read_text("utf-8"))
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


async def freeze(ledger: Ledger, path: Path, facts: Mapping[str, Any]) -> None:
    """Note what this run stands on, or refuse when the directory stands on something else.

    Raises:
        ConfigError: as :func:`check_frozen`.
    """
    check_frozen(ledger, path, facts)
    await ledger.set_meta("frozen", {**(ledger.meta("frozen") or {}), **facts})


async def identify(ledger: Ledger) -> str:
    """Who the run directory is, settled when it is begun."""
    known = ledger.meta("run_id")
    if known is None:
        known = uuid4().hex
        await ledger.set_meta("run_id", known)
    return str(known)


async def remember_run(ledger: Ledger, progress: Progress) -> None:
    """Note what a run of the directory did, however it ended; one that was killed is not among them."""
    did = {"seconds": progress.seconds, "requests": progress.calls, "student_tokens": progress.forward_tokens}
    await ledger.set_meta("runs", [*(ledger.meta("runs") or ()), did])


def check_frozen(ledger: Ledger, path: Path, facts: Mapping[str, Any]) -> None:
    """Whether a run directory stands on these facts. Those that one run does not have (no teacher, say) are no change.

    Raises:
        ConfigError: with every difference.
    """
    known = ledger.meta("frozen") or {}
    changed = [line for key in facts if key in known for line in _differences(key, known[key], facts[key])]
    if changed:
        raise ConfigError(
            f"{path} was begun with something else; use another --run-dir, or change back: " + "; ".join(changed)
        )


def _differences(place: str, old: Any, new: Any) -> list[str]:
    """Every value that differs, with the path that leads to it."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys((*old, *new))
        return [line for key in keys for line in _differences(f"{place}.{key}", old.get(key), new.get(key))]
    return [] if old == new else [f"{place}: {old} → {new}"]
