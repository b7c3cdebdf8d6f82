"""Entry points of installed packages, read from their metadata without an import."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any


def entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    """Return the entry points of a group in all installed packages, whose metadata take 10 ms and more to read."""
    return tuple(read(_installed()).select(group=group))


def packaged(point: metadata.EntryPoint) -> tuple[str, str]:
    """Return name and version of an entry point's package; empty where its metadata cannot be read."""
    try:
        if point.dist is None:
            return "", ""
        told = point.dist.metadata  # taken once, since each access reads the file
        return told["Name"] or "", told["Version"] or ""
    except Exception:
        return "", ""


@lru_cache(maxsize=2)
def read(_state: object) -> Any:
    """Return the entry points of all installed packages; *_state* changes with these."""
    return metadata.entry_points()


def _installed() -> tuple[tuple[str, int], ...]:
    """Return a state that changes when a package is installed or removed: the places of imports and their times."""
    state = []
    for place in sys.path:
        with suppress(OSError):
            state.append((place, Path(place).stat().st_mtime_ns))
    return tuple(state)
