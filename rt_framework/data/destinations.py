"""The guard of everything that is written: what a command may write is settled before it does any work.

A command claims its destinations, all together and with what it reads. Refused are a destination that is an input or
another output, one that belongs to a run directory or folder of ours, a link, a device, and whatever is there that we
did not write. :func:`rt_framework.data.replacing.whole` asks again before it replaces anything: a run takes hours.
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
    ".lengthened.sqlite*",
    "run.owner",
    "progress.json",
)
"""Files of a run directory that whoever runs there writes and removes without asking."""

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
)
"""Names in a run directory that belong to its run, there or not."""


@frozen
class Destination:
    """A destination that a command writes to."""

    path: Path
    option: str = "--out"
    """What the user named it by, for messages."""
    kind: Literal["file", "folder", "run", "appended"] = "file"
    """``run`` is a run directory; ``appended`` is a file that grows, or a FIFO."""
    record: Path | None = None
    """The run directory that records what was written here; ``None`` where nothing does."""
    overwrite: bool | None = None
    """Whether a file that is not ours may go; ``None`` where the command has no such option."""

    def __str__(self) -> str:
        return str(self.path)

    @property
    def real(self) -> Path:
        """The destination without the links that lead to it; a run directory may be a link itself."""
        return self.path.resolve() if self.kind == "run" else self.path.parent.resolve() / self.path.name

    @property
    def name(self) -> str:
        """What its run directory calls it."""
        assert self.record is not None
        return Path(os.path.relpath(self.real, self.record.resolve())).as_posix()

    @property
    def is_recorded(self) -> bool:
        """Whether what is there was written by a command of the same run directory."""
        return self.record is not None and self.name in recorded(self.record)


def beside(out: Path, option: str = "--out") -> Path:
    """The run directory that goes with an output: ``OUT.rt``.

    Raises:
        ConfigError: *out* names no file.
    """
    _check_name(Destination(out, option))
    return out.with_name(f"{out.name}.rt")


def paths_in(*values: Any) -> Iterator[Path]:
    """The files and directories that the options of plugins name, as ``replay:answers.jsonl`` does."""
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
    """Refuse, before any work, destinations that must not be written. Nothing is made or changed.

    Args:
        destinations: everything that the command will write.
        data: the data sets that it reads; nothing is written into a directory of these.
        inputs: whatever else it reads.

    Raises:
        ConfigError: a destination is taken; the message names it, why, and the way out.
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
    """Whether what is at a destination now may be replaced, or appended to.

    Raises:
        ConfigError: it may not.
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
            raise _refused(destination, "is a link, and nothing is written through one")
        elif stat.S_ISDIR(mode):
            _check_folder(destination)
        elif not stat.S_ISREG(mode) and not (stat.S_ISFIFO(mode) and destination.kind == "appended"):
            raise _refused(destination, "is a device, a FIFO or a socket, and no file")
        elif destination.kind != "appended" and not destination.overwrite and not destination.is_recorded:
            way = "" if destination.overwrite is None else ", or say --overwrite if it may go"
            raise _refused(destination, "is there already", way)


def _check_name(destination: Destination) -> None:
    if destination.kind != "run" and destination.path.name in ("", ".."):
        raise _refused(destination, "names no file")


def _check_input(destination: Destination, path: Path, is_data: bool) -> None:
    """Whether a destination is apart from something that is read."""
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
    """Whether two destinations are apart. What lies in the command's own run directory is looked at elsewhere."""
    one, two = destination.real, other.real
    within = one.is_relative_to(two) and other.kind != "run", two.is_relative_to(one) and destination.kind != "run"
    if one == two or any(within) or _same(one, two):
        raise _refused(destination, f"is, or lies in, another output of this command ({other.option})")


def _check_owner(destination: Destination, runs: Iterable[Destination]) -> None:
    """Whether a destination belongs to a run directory, or to a folder of ours, which this command does not own."""
    owned = None if destination.record is None else destination.record.resolve()
    claimed = {run.real for run in runs}
    for folder in destination.real.parents:
        if folder == owned:
            return
        inner = destination.real.relative_to(folder)
        mark = read_mark(folder)
        own = (folder in claimed or is_run(folder)) and any(fnmatch(inner.parts[0].lower(), name) for name in RUN_FILES)
        if own or (mark is not None and inner.as_posix() in mark.files):
            kind = "the run directory" if own else "what was written to"
            raise _refused(destination, f"belongs to {kind} {folder}")


def _check_folder(destination: Destination) -> None:
    if destination.kind != "folder":
        raise _refused(destination, "is a folder, and no file")
    if is_run(destination.real):
        raise _refused(destination, "is a run directory, which is never replaced")
    why = objection(destination.real)
    if why is not None and not (destination.overwrite and why.startswith("was changed")):
        raise _refused(destination, why)


def _check_run(destination: Destination, mode: int) -> None:
    """Whether a directory may become, or is, a run directory: nothing in it is ours until a run has marked it."""
    if not stat.S_ISDIR(mode):
        raise DiskError(f"{destination}: cannot be used as a run directory: File exists")
    mark = read_mark(destination.real)
    if mark is not None and mark.kind == FOLDER:
        raise _refused(destination, "is a folder that rt wrote as an output, and no run directory")
    for file in sorted(destination.real.iterdir()):
        if not any(fnmatch(file.name, name) for name in (*_MACHINE, "run.lock", MARK)):
            continue
        if not stat.S_ISREG(file.lstat().st_mode):
            why = f"has a link, folder or device called {file.name}, where a run has a file of its own"
            raise _refused(destination, why)
        # A mark is read again: another run may have begun here since.
        if mark is None and _is_foreign(file) and read_mark(destination.real) is None:
            raise _refused(destination, f"holds a file {file.name} that no run of rt wrote")


def _is_foreign(file: Path) -> bool:
    """Whether a file of a directory without a mark is another's, although a run has one of that name."""
    if file.name == "ledger.sqlite":
        return is_foreign(file)
    if file.name == "run.owner":
        with suppress(OSError, ValueError, TypeError):
            return set(json.loads(file.read_text("utf-8"))) != {"pid", "host"}
    # An owner that was killed leaves the others beside its ledger; a lock of ours is empty.
    return file.stat().st_size > 0 and (file.name == MARK or not (file.parent / "ledger.sqlite").is_file())


def _check_parent(destination: Destination) -> None:
    """Whether something can be made at a destination; what the disk of a run directory takes is tried there."""
    if destination.kind == "run":
        if destination.path.is_symlink():
            raise _refused(destination, "is a link that leads nowhere")
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
    """Makes what the system says of a destination one line."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # a ring of links is a RuntimeError, a NUL a ValueError
        reason = getattr(error, "strerror", None) or error
        raise DiskError(f"{_short(destination)}: cannot be written: {reason}") from error


def _refused(destination: Destination, why: str, way: str = "") -> ConfigError:
    return ConfigError(f"{_short(destination)}: {why}; name another place with {destination.option}{way}")


def _short(destination: Destination) -> str:
    text = str(destination)
    return text if len(text) < 300 else f"{text[:100]}…{text[-100:]}"
