"""The files of a data set on this machine: one file, a directory that a format reads itself, or a folder of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from attrs import field, frozen


class Files(Protocol):
    """The files of a data set, in the order in which they are read."""

    @property
    def name(self) -> str:
        """Name of the data set in messages."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files and folders that nothing may be written over or into."""

    @property
    def facts(self) -> Mapping[str, str]:
        """Further facts about where the files come from, which must not change in a run directory."""

    @property
    def several(self) -> bool:
        """True if each path is a file of its own with some of the rows."""

    @property
    def hashed(self) -> bool:
        """True if the hash of the data set is that of the bytes which are read from the paths."""

    def __iter__(self) -> Iterator[Path]:
        """Yield each path that a format reads."""

    def label(self, path: Path) -> str:
        """Return the name of one of the files in the data set."""

    def stored(self) -> Sequence[Path]:
        """Return all files that are on this machine now, in a fixed order."""

    def digests(self) -> Sequence[tuple[str, bytes]]:
        """Return the name and the hash of every file, as it is now.

        Raises:
            OSError: a file cannot be read.
        """

    def size(self) -> int:
        """Return the bytes of all files."""


@frozen
class LocalFiles:
    """A file, a directory that a format reads itself, or, with *several*, a folder whose visible files it reads."""

    path: Path
    several: bool = False
    facts: Mapping[str, str] = field(factory=dict, init=False)

    @property
    def name(self) -> str:
        """The path as the user gave it."""
        return str(self.path)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The path alone."""
        return (self.path,)

    @property
    def hashed(self) -> bool:
        """True unless a format reads the directory itself, in an order of its own."""
        return self.several or not self.path.is_dir()

    def __iter__(self) -> Iterator[Path]:
        return iter(self.stored() if self.several else [self.path])

    def label(self, path: Path) -> str:
        """Return the name of a file in the directory, or of the file itself."""
        return str(path.relative_to(self.path if self.path.is_dir() else self.path.parent))

    def stored(self) -> Sequence[Path]:
        """Return the file, the visible files of the folder, or all files of the directory."""
        if self.several:
            return visible(self.path)
        return sorted(file for file in self.path.rglob("*") if file.is_file()) if self.path.is_dir() else [self.path]

    def digests(self) -> Sequence[tuple[str, bytes]]:
        """Return the name and the hash of every file, which are all read.

        Raises:
            OSError: a file cannot be read.
        """
        return [(self.label(path), digest_of(path)) for path in self.stored()]

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(path.stat().st_size for path in self.stored())


def visible(folder: Path) -> list[Path]:
    """Return what is in a folder, by name, without the hidden: names that begin with a dot or an underscore."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "_")))


def digest_of(path: Path) -> bytes:
    """Return the SHA-256 of a file.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
