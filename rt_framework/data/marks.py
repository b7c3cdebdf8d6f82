"""The marks that this program leaves on what it made, so that it knows its own files and touches no others.

A folder that was written as an output holds a mark with the size of every file in it. A run directory holds one with
the names of the files that were written for it, in it or beside it.
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
"""Name of the file that says so."""

FOLDER, RUN = "folder", "run"
"""The two kinds of marked directories: an output as a whole, and a run directory."""

_MANIFEST = "manifest.json"


@frozen
class Mark:
    """The content of a mark."""

    kind: str
    files: Mapping[str, int | None]
    """Names, relative to the directory, with the size in bytes where the folder is an output."""


def read_mark(folder: Path) -> Mark | None:
    """The mark of a directory; ``None`` if there is none of ours. A line that was cut off by a crash is passed over."""
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
            told = json.loads(line)
            files[str(told["file"])] = told.get("bytes")
    return Mark(str(kind), files)


def is_run(folder: Path) -> bool:
    """Whether a directory is a run directory of ours, finished or not."""
    mark = read_mark(folder)
    return (folder / "ledger.sqlite").is_file() if mark is None else mark.kind == RUN


def recorded(folder: Path) -> Mapping[str, int | None]:
    """The files that are recorded in a run directory as written for it.

    A directory of before there were marks has a manifest that says the same.
    """
    mark = read_mark(folder)
    if mark is None:
        return dict.fromkeys(_before_marks(folder))
    return mark.files if mark.kind == RUN else {}


def note(folder: Path, *names: str) -> None:
    """Record in a run directory, down to the disk, that files are ours. Names are relative to the directory.

    Raises:
        OSError: the mark cannot be written.
    """
    known = recorded(folder)
    begun = read_mark(folder) is not None
    new = [name for name in names if name not in known]
    if begun and not new:
        return
    lines = [{"file": name} for name in (new if begun else (*known, *new))]
    # One write that appends: a report may be written while a run goes on. A line that a crash cut off is ended first.
    text = "\n" + _lines(*lines) if begun else _lines({"rt-framework": RUN}, *lines)
    descriptor = os.open(folder / MARK, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        os.write(descriptor, text.encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def mark_folder(folder: Path) -> None:
    """Mark a folder that was written as an output, with all that is in it.

    Raises:
        OSError: the mark cannot be written.
    """
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    told = [{"file": path.relative_to(folder).as_posix(), "bytes": path.lstat().st_size} for path in files]
    (folder / MARK).write_text(_lines({"rt-framework": FOLDER}, *told), "ascii")


def objection(folder: Path) -> str | None:
    """Why a folder is not ours to replace; ``None`` if it is empty, or holds what we wrote into it and nothing else."""
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


def _lines(*told: Mapping[str, Any]) -> str:
    return "".join(json.dumps(one) + "\n" for one in told)


def _before_marks(folder: Path) -> list[str]:
    """The names of what the run in a directory left, by its manifest."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        if "rt-framework" not in manifest["versions"]:
            return []
        files = [Path(name).name for name in manifest["summary"].get("files", ())]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
    beside = [f"../{folder.name.removesuffix('.rt')}"] if folder.name.endswith(".rt") else []
    return [_MANIFEST, "progress.json", "report.html", *files, *beside]
