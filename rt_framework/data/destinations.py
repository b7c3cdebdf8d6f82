"""Checks of every path that a command writes to, made before the command does any work.

A command claims all of its destinations at once, together with its inputs. A destination is refused if it is an input
or another output, belongs to a run directory or to a folder that rt wrote, is a link or a device, or holds something
that rt did not write. :func:`rt_framework.data.replacing.whole` checks again before it replaces anything, because a
run takes hours.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from attrs import asdict, frozen
from attrs import has as is_attrs

from rt_framework.data.marks import FOLDER, MARK, is_run, objection, read_mark, recorded
from rt_framework.errors import ConfigError, DiskError
from rt_framework.ledger import is_foreign

_MACHINE = (
    *(f"ledger.sqlite{end}" for end in ("", "-wal", "-shm", "-seal")),
    ".merging.sqlite*",
    ".readable.sqlite*",
    "run.owner",
    "progress.json",
)
"""Names and patterns of the files in a run directory that every run there writes and removes without asking."""

RUN_FILES = (
    *_MACHINE,
    "run.lock",
    MARK,
    "manifest.json",
    "scores.jsonl",
    "kept",
    "kept.*",
    "dropped",
    "dropped.*",
    "pilot",
    "reviews.jsonl",
)
"""Names and patterns in a run directory that belong to its run, whether or not such a file exists."""


@frozen
class Destination:
    """A file or directory that a command writes to."""

    path: Path
    option: str = "--out"
    """Command-line option with which the user names the destination, for messages."""
    kind: Literal["file", "folder", "run", "appended"] = "file"
    """``run`` is a run directory; ``appended`` is a file that grows, or a FIFO."""
    record: Path | None = None
    """Run directory that records the output written to the destination; ``None`` if none does."""
    overwrite: bool | None = None
    """True if a file that rt did not write may be replaced; ``None`` where the command has no such option."""

    def __str__(self) -> str:
        return str(self.path)

    @property
    def real(self) -> Path:
        """The path with the links above it resolved; a run directory may be a link itself, which is resolved too."""
        return self.path.resolve() if self.kind == "run" else self.path.parent.resolve() / self.path.name

    @property
    def name(self) -> str:
        """The path relative to the run directory that records it."""
        assert self.record is not None
        return Path(os.path.relpath(self.real, self.record.resolve())).as_posix()

    @property
    def is_recorded(self) -> bool:
        """Return whether the run directory records that it wrote this destination."""
        return self.record is not None and self.name in recorded(self.record)


def beside(out: Path, option: str = "--out") -> Path:
    """Return the run directory that goes with an output: ``OUT.rt``.

    Raises:
        ConfigError: *out* names no file.
    """
    _check_name(Destination(out, option))
    return out.with_name(f"{out.name}.rt")


def paths_in(*values: Any) -> Iterator[Path]:
    """Yield the existing files and directories that options of plugins name, as ``replay:answers.jsonl`` does."""
    for value in values:
        if is_attrs(type(value)):
            yield from paths_in(asdict(value))
        elif isinstance(value, Mapping):
            yield from paths_in(*value.values())
        elif isinstance(value, list | tuple):
            yield from paths_in(*value)
        elif isinstance(value, str) and Path(value).name not in ("", ".."):
            with suppress(OSError, ValueError):
                if Path(value).exists():
                    yield Path(value)


def claim(destinations: Iterable[Destination], data: Iterable[Path] = (), inputs: Iterable[Path] = ()) -> None:
    """Refuse, before any work, destinations that must not be written. Nothing is created or changed.

    Args:
        destinations: everything that the command will write.
        data: the data sets that it reads; nothing is written into a directory of these.
        inputs: everything else that it reads.

    Raises:
        ConfigError: a destination must not be written; the message names it, the reason and a way out.
        DiskError: a destination cannot be written.
    """
    claimed, sets, others = list(destinations), list(data), list(inputs)
    runs = [destination for destination in claimed if destination.kind == "run"]
    for number, destination in enumerate(claimed):
        with _usable(destination):
            _check_name(destination)
            for path in (*sets, *others):
                _check_input(destination, path, path in sets)
            for other in claimed[:number]:
                _check_other(destination, other)
            _check_owner(destination, runs)
        check(destination)


def check(destination: Destination) -> None:
    """Check that the existing file or folder at a destination may be replaced, or appended to.

    Raises:
        ConfigError: it must not be replaced, or appended to.
        DiskError: the destination cannot be written.
    """
    with _usable(destination):
        try:
            mode = destination.real.lstat().st_mode
        except FileNotFoundError:
            _check_parent(destination)
            return
        if destination.kind == "run":
            _check_run(destination, mode)
        elif stat.S_ISLNK(mode):
            raise _refused(destination, "is a link, and rt does not write through links")
        elif stat.S_ISDIR(mode):
            _check_folder(destination)
        elif not stat.S_ISREG(mode) and not (stat.S_ISFIFO(mode) and destination.kind == "appended"):
            raise _refused(destination, "is a device, a FIFO or a socket, not a file")
        elif destination.kind != "appended" and not destination.overwrite and not destination.is_recorded:
            way = "" if destination.overwrite is None else ", or give --overwrite to replace it"
            raise _refused(destination, "exists already", way)


def _check_name(destination: Destination) -> None:
    if destination.kind != "run" and destination.path.name in ("", ".."):
        raise _refused(destination, "names no file")


def _check_input(destination: Destination, path: Path, is_data: bool) -> None:
    """Check that a destination is separate from *path*, which the command reads."""
    real, read = destination.real, path.resolve()
    if real == read or _same(real, path):
        raise _refused(destination, "is an input of this command")
    if destination.kind != "run" and read.is_relative_to(real):
        raise _refused(destination, f"holds {path}, an input of this command")
    if real.is_relative_to(read) and path.is_dir() and not is_run(path):
        taken = real.exists() and destination.kind != "run" and not destination.is_recorded
        if is_data or taken:
            raise _refused(destination, f"lies in {path}, an input of this command")


def _check_other(destination: Destination, other: Destination) -> None:
    """Check that two destinations are separate. :func:`_check_owner` handles those in the command's run directory."""
    one, two = destination.real, other.real
    within = one.is_relative_to(two) and other.kind != "run", two.is_relative_to(one) and destination.kind != "run"
    if one == two or any(within) or _same(one, two):
        raise _refused(destination, f"is, or lies in, another output of this command ({other.option})")


def _check_owner(destination: Destination, runs: Iterable[Destination]) -> None:
    """Refuse a file of a run directory, or of a folder that rt wrote, unless the command records it there."""
    owned = None if destination.record is None else destination.record.resolve()
    claimed = {run.real for run in runs}
    for folder in destination.real.parents:
        # A run's own outputs have no option that replaces them; what a user names must not be one of them.
        if folder == owned and destination.overwrite is None:
            return
        inner = destination.real.relative_to(folder)
        mark = read_mark(folder)
        own = (folder in claimed or is_run(folder)) and any(fnmatch(inner.parts[0].lower(), name) for name in RUN_FILES)
        if own or (mark is not None and inner.as_posix() in mark.files and folder != owned):
            kind = "the run directory" if own else "the output"
            raise _refused(destination, f"belongs to {kind} {folder}")
        if folder == owned:
            return


def _check_folder(destination: Destination) -> None:
    if destination.kind != "folder":
        raise _refused(destination, "is a folder, not a file")
    if is_run(destination.real):
        raise _refused(destination, "is a run directory, which is never replaced")
    why = objection(destination.real)
    if why is not None and not (destination.overwrite and why.startswith("was changed")):
        raise _refused(destination, why)


def _check_run(destination: Destination, mode: int) -> None:
    """Check that a directory is, or may become, a run directory; until a run marks it, no file in it counts as rt's."""
    if not stat.S_ISDIR(mode):
        raise DiskError(f"{destination}: cannot be used as a run directory: File exists")
    mark = read_mark(destination.real)
    if mark is not None and mark.kind == FOLDER:
        raise _refused(destination, "is a folder that rt wrote as an output, not a run directory")
    for file in sorted(destination.real.iterdir()):
        if not any(fnmatch(file.name, name) for name in (*_MACHINE, "run.lock", MARK)):
            continue
        if not stat.S_ISREG(file.lstat().st_mode):
            why = f"has a link, folder or device called {file.name}, where a run has a file of its own"
            raise _refused(destination, why)
        # The mark is read again because another run may have begun here in the meantime.
        if mark is None and _is_foreign(file) and read_mark(destination.real) is None:
            raise _refused(destination, f"holds a file {file.name} that no run of rt wrote")


def _is_foreign(file: Path) -> bool:
    """Return whether a file in an unmarked directory is not from rt, although a run has a file of that name."""
    if file.name == "ledger.sqlite":
        return is_foreign(file)
    if file.name == "run.owner":
        with suppress(OSError, ValueError, TypeError):
            return set(json.loads(file.read_text("utf-8"))) != {"pid", "host"}
    # A run that was killed leaves its other files beside its ledger, and the lock file of a run is empty.
    return file.stat().st_size > 0 and (file.name == MARK or not (file.parent / "ledger.sqlite").is_file())


def _check_parent(destination: Destination) -> None:
    """Check that a destination can be created; the disk of a run directory is tested when the run opens it."""
    if destination.kind == "run":
        if destination.path.is_symlink():
            raise _refused(destination, "is a broken link")
        return
    if destination.record is not None and destination.real.is_relative_to(destination.record.resolve()):
        return
    above = next(parent for parent in destination.real.parents if parent.exists())
    if not above.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(above, os.W_OK | os.X_OK):
        read_only = os.statvfs(above).f_flag & os.ST_RDONLY
        raise OSError(0, os.strerror(errno.EROFS if read_only else errno.EACCES))


def _same(one: Path, two: Path) -> bool:
    try:
        return one.samefile(two)
    except FileNotFoundError:
        return False


@contextmanager
def _usable(destination: Destination) -> Iterator[None]:
    """Turn an error of the operating system about a destination into a DiskError of one line."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links is a RuntimeError, a NUL a ValueError
        reason = getattr(error, "strerror", None) or error
        raise DiskError(f"{_short(destination)}: cannot be written: {reason}") from error


def _refused(destination: Destination, why: str, way: str = "") -> ConfigError:
    return ConfigError(f"{_short(destination)}: {why}; name another place with {destination.option}{way}")


def _short(destination: Destination) -> str:
    text = str(destination)
    return text if len(text) < 300 else f"{text[:100]}…{text[-100:]}"
