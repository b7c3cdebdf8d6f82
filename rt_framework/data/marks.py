"""Marks that rt leaves beside its outputs, so that it recognises its own files and touches no others.

A folder that was written as an output holds a mark with the size of every file in it. A run directory holds a mark
with the names of the files that were written for it, in it or beside it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen

MARK = ".rt-framework"
"""Name of the file that holds the mark of a directory."""

FOLDER, RUN = "folder", "run"
"""The two kinds of marked directories: an output folder, and a run directory."""

_MANIFEST = "manifest.json"


@frozen
class Mark:
    """The content of a mark."""

    kind: str
    files: Mapping[str, int | None]
    """Names relative to the directory; each with its size in bytes in an output folder, with ``None`` in a run's."""


def read_mark(folder: Path) -> Mark | None:
    """Return the mark of a directory, or ``None`` if rt left none. A line that a crash cut off is skipped."""
    try:
        if not stat.S_ISREG((folder / MARK).lstat().st_mode):
            return None
        first, *lines = (folder / MARK).read_text("utf-8").splitlines()
        kind = json.loads(first)["rt-framework"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    files = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            record = json.loads(line)
            files[str(record["file"])] = record.get("bytes")
    return Mark(str(kind), files)


def is_run(folder: Path) -> bool:
    """Return whether a directory is a run directory of rt, finished or not."""
    mark = read_mark(folder)
    return (folder / "ledger.sqlite").is_file() if mark is None else mark.kind == RUN


def recorded(folder: Path) -> Mapping[str, int | None]:
    """Return the files that a run directory records as written for it.

    In a directory that is older than the marks, the manifest lists these files.
    """
    mark = read_mark(folder)
    if mark is None:
        return dict.fromkeys(_before_marks(folder))
    return mark.files if mark.kind == RUN else {}


def note(folder: Path, *names: str) -> None:
    """Record in a run directory, flushed to disk, that rt wrote these files. Names are relative to the directory.

    Raises:
        OSError: the mark cannot be written.
    """
    known = recorded(folder)
    begun = read_mark(folder) is not None
    new = [name for name in names if name not in known]
    if begun and not new:
        return
    lines = [{"file": name} for name in (new if begun else (*known, *new))]
    # A single appending write, as a report may be written during a run. The newline ends a line that a crash cut off.
    text = "\n" + _lines(*lines) if begun else _lines({"rt-framework": RUN}, *lines)
    descriptor = os.open(folder / MARK, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        os.write(descriptor, text.encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def mark_folder(folder: Path) -> None:
    """Mark a folder that was written as an output, with the name and size of every file in it.

    Raises:
        OSError: the mark cannot be written.
    """
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    records = [{"file": path.relative_to(folder).as_posix(), "bytes": path.lstat().st_size} for path in files]
    (folder / MARK).write_text(_lines({"rt-framework": FOLDER}, *records), "ascii")


def objection(folder: Path) -> str | None:
    """Return why rt must not replace a folder, or ``None`` if it is empty or holds only what rt wrote into it."""
    inside = sorted(folder.rglob("*"))
    if not inside:
        return None
    mark = read_mark(folder)
    if mark is None or mark.kind != FOLDER:
        return "is a folder that rt did not write"
    files = {folder / name: size for name, size in mark.files.items()}
    folders = {parent for path in files for parent in path.parents}
    for path in inside:
        if path in files and path.lstat().st_size != files[path]:
            return f"was changed since rt wrote it: {path.relative_to(folder)}"
        if path not in files and path not in folders and path != folder / MARK:
            return f"holds something that rt did not write: {path.relative_to(folder)}"
    return None


def _lines(*records: Mapping[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def _before_marks(folder: Path) -> list[str]:
    """Return the names of the files that the run in a directory left, according to its manifest."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        if "rt-framework" not in manifest["versions"]:
            return []
        files = [Path(name).name for name in manifest["summary"].get("files", ())]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
    beside = [f"../{folder.name.removesuffix('.rt')}"] if folder.name.endswith(".rt") else []
    return [_MANIFEST, "progress.json", "report.html", *files, *beside]
