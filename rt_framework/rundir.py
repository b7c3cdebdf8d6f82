"""A run directory: its lock, its ledger, and what may not change between two runs in it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rt_framework.errors import ConfigError, DiskError, LockedError
from rt_framework.ledger import Ledger

LEDGER = "ledger.sqlite"
MANIFEST = "manifest.json"
SCORES = "scores.jsonl"


@contextmanager
def open_run(path: Path) -> Iterator[Ledger]:
    """The ledger of a run directory that is ours alone until the block ends.

    Raises:
        LockedError: another process owns it; the message names it.
        DiskError: the directory cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / "run.lock")
        lock.acquire(blocking=False)
    except Timeout:
        raise LockedError(f"{path}: in use by {_owner(path)}; wait for it, or choose another --run-dir") from None
    except OSError as error:
        raise DiskError(f"{path}: cannot be used as a run directory: {error.strerror or error}") from error
    try:
        unclean = (path / "run.owner").exists()
        (path / "run.owner").write_text(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        ledger = Ledger(path / LEDGER)
        try:
            if unclean:
                ledger.check()
            yield ledger
        finally:
            ledger.close()
    finally:
        (path / "run.owner").unlink(missing_ok=True)
        lock.release()


def _owner(path: Path) -> str:
    try:
        owner = json.loads((path / "run.owner").read_text())
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError):
        return "another process"


async def freeze(ledger: Ledger, path: Path, facts: Mapping[str, Any]) -> None:
    """Note what this run stands on, or refuse when the directory stands on something else.

    Facts that one run does not have (no teacher, say) are no change.

    Raises:
        ConfigError: with every difference.
    """
    known = ledger.meta("frozen") or {}
    changed = [line for key in facts if key in known for line in _differences(key, known[key], facts[key])]
    if changed:
        raise ConfigError(
            f"{path} was begun with something else; use another --run-dir, or change back: " + "; ".join(changed)
        )
    await ledger.set_meta("frozen", {**known, **facts})


def _differences(place: str, old: Any, new: Any) -> list[str]:
    """Every value that differs, with the path that leads to it."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys((*old, *new))
        return [line for key in keys for line in _differences(f"{place}.{key}", old.get(key), new.get(key))]
    return [] if old == new else [f"{place}: {old} → {new}"]
