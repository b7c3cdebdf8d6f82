"""Checks of a disk before anything is paid for: its kind of file system, and its free space."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from rt_framework.errors import DiskError

MOUNTS = Path("/proc/self/mountinfo")
"""File in which Linux lists the mounts of this process."""

_SERVERS = ("afs", "cifs", "davfs", "davfs2", "ncpfs", "nfs", "nfs4", "rclone", "smb3", "smbfs", "sshfs")
_CLUSTERS = ("beegfs", "ceph", "gcsfuse", "glusterfs", "gpfs", "lustre", "orangefs", "pvfs2", "s3fs")
NETWORK = frozenset((*_SERVERS, *_CLUSTERS))
"""Names of network file systems in Linux, without ``fuse.`` in front."""

_LOG = 80_000_000
"""Most bytes that the ledger's write-ahead log and the small files take."""


def room(samples: int, input_bytes: int, teacher: bool) -> int:
    """Return the bytes that a run may need on disk for ledger, log and outputs, as measured on earlier runs.

    Args:
        samples: number of samples of the input.
        input_bytes: size of the input.
        teacher: whether answers are stored, each with its prompt.
    """
    sample, times = (16_000, 12) if teacher else (4_000, 4)
    return _LOG + sample * samples + times * input_bytes


def check_kind(path: Path) -> None:
    """Refuse a path where SQLite's write-ahead log does not work; nothing is created there.

    Raises:
        DiskError: the path is on a network file system.
    """
    kind = file_system(path)
    if kind is not None and kind.removeprefix("fuse.") in NETWORK:
        raise DiskError(
            f"{path}: is on a network file system ({kind}), where the ledger is not safe; choose a directory on a "
            "disk of this machine (--run-dir, or --out) and copy the result from there"
        )


def check_room(path: Path, need: int) -> None:
    """Check that the disk has room for a run in the directory *path*; files that are already in it count.

    Args:
        path: a directory that exists.
        need: bytes, for the whole run.

    Raises:
        DiskError: less space is free.
    """
    disk = shutil.disk_usage(path)
    needed = need - sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    # Some file systems report a total size of 0.
    if disk.total and disk.free < needed:
        raise DiskError(
            f"{path}: {_megabytes(disk.free)} MB are free on this disk and the run may need {_megabytes(needed)} MB; "
            "make room, or choose another disk (--run-dir, or --out)"
        )


def file_system(path: Path) -> str | None:
    """Return the name of the file system that *path* is or would be on; ``None`` if the system does not say."""
    try:
        lines = MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    place = path.resolve()
    found: tuple[int, str | None] = (0, None)
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(_unescaped(before.split(" ")[4]))
        # Of two mounts at one path the later one hides the earlier one.
        if place.is_relative_to(point) and len(point.parts) >= found[0]:
            found = len(point.parts), after.split(" ")[0]
    return found[1]


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f}"
