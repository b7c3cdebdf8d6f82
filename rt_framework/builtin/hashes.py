"""SHA-256 of large files, cached between runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def file_hashes(paths: Iterable[Path]) -> list[str]:
    """Return the SHA-256 of each file, in hexadecimal.

    A file is read again only when its path, size or modification time has changed. The cache is
    ``$XDG_CACHE_HOME/rt_framework/hashes.json``; where it cannot be written, files are read every time.

    Raises:
        OSError: a file cannot be read.
    """
    memory = _load()
    known = dict(memory)
    found = [_hash(path.resolve(), memory) for path in paths]
    if memory != known:
        _save(memory)
    return found


def _hash(path: Path, memory: dict[str, list[int | str]]) -> str:
    stat = path.stat()
    entry = memory.get(str(path))
    if isinstance(entry, list) and len(entry) == 3 and entry[:2] == [stat.st_size, stat.st_mtime_ns]:
        return str(entry[2])
    with path.open("rb") as stream:
        value = hashlib.file_digest(stream, "sha256").hexdigest()
    memory[str(path)] = [stat.st_size, stat.st_mtime_ns, value]
    return value


def _file() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "rt_framework" / "hashes.json"


def _load() -> dict[str, list[int | str]]:
    try:
        memory = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return {}
    return memory if isinstance(memory, dict) else {}


def _save(memory: dict[str, list[int | str]]) -> None:
    """Replace the whole file at once, so that no reader sees a half-written one."""
    with contextlib.suppress(OSError, RuntimeError):
        target = _file()
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, delete=False) as stream:
            json.dump(memory, stream)
        Path(stream.name).replace(target)
