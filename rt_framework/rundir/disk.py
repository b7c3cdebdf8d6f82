"""What can be known of a disk before anything is paid for: where it is, and what room it has."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from rt_framework.errors import DiskError

MOUNTS = Path("/proc/self/mountinfo")
"""The mounts of this process, as Linux tells them."""

_SERVERS = ("afs", "cifs", "davfs", "davfs2", "ncpfs", "nfs", "nfs4", "rclone", "smb3", "smbfs", "sshfs")
_CLUSTERS = ("beegfs", "ceph", "gcsfuse", "glusterfs", "gpfs", "lustre", "orangefs", "pvfs2", "s3fs")
NETWORK = frozenset((*_SERVERS, *_CLUSTERS))
"""File systems of other machines, by the names that Linux gives them, without ``fuse.`` in front."""

_LOG = 80_000_000
"""Most that the ledger's write-ahead log grows to, and small files."""


def room(samples: int, input_bytes: int, teacher: bool) -> int:
    """Bytes that a run may come to need on disk: ledger, its log and outputs, after what runs were measured to take.

    Args:
        samples: of the input.
        input_bytes: its size.
        teacher: whether answers are stored, each with its prompt.
    """
    sample, times = (16_000, 12) if teacher else (4_000, 4)
    return _LOG + sample * samples + times * input_bytes


def check_kind(path: Path) -> None:
    """Refuse a place where SQLite's write-ahead log does not work; nothing is made there.

    Raises:
        DiskError: it is on a network file system.
    """
    kind = file_system(path)
    if kind is not None and kind.removeprefix("fuse.") in NETWORK:
        raise DiskError(
            f"{path}: is on a network file system ({kind}), where the ledger is not safe; choose a directory on a "
            "disk of this machine (--run-dir, or --out) and copy the result from there"
        )


def check_room(path: Path, need: int) -> None:
    """Whether there is room for a run in the directory *path*; what is in it already counts.

    Args:
        path: a directory that exists.
        need: bytes, for the whole run.

    Raises:
        DiskError: there is less.
    """
    disk = shutil.disk_usage(path)
    needed = need - sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    # Some file systems do not know their size.
    if disk.total and disk.free < needed:
        raise DiskError(
            f"{path}: {_megabytes(disk.free)} MB are free on this disk and the run may need {_megabytes(needed)} MB; "
            "make room, or choose another disk (--run-dir, or --out)"
        )


def file_system(path: Path) -> str | None:
    """Name of the file system that *path* is or would be on; ``None`` where the system does not tell."""
    try:
        lines = MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    place = path.resolve()
    found: tuple[int, str | None] = (0, None)
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(_unescaped(before.split(" ")[4]))
        # Of two mounts in one place the later one hides the other.
        if place.is_relative_to(point) and len(point.parts) >= found[0]:
            found = len(point.parts), after.split(" ")[0]
    return found[1]


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f}"
