"""The input of a run: found, counted and checked before anything is paid for."""

from __future__ import annotations

import hashlib
import heapq
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from attrs import evolve, frozen

from rt_framework.config import Builder, Data, Shard
from rt_framework.data.rows import detect_format, read_records, read_shape, with_ids
from rt_framework.errors import DataError, RtError
from rt_framework.model import Record, Sample, digest
from rt_framework.plugin import Host
from rt_framework.protocols import Format
from rt_framework.text import shown

T = TypeVar("T")

_log = logging.getLogger("rt_framework")


@frozen
class Draw:
    """A random part of the samples: those whose ids have the smallest hashes, whatever their order."""

    seed: int
    most: str
    """The largest hash that is in."""

    def __contains__(self, sample: Sample) -> bool:
        return _place(self.seed, sample) <= self.most


@frozen
class Known:
    """What the first read of a source has found."""

    samples: int
    content: str
    """Hash of the file, taken before it was read: whatever changes afterwards shows in the end."""


@frozen
class Source:
    """A file or directory of samples, with its format and shape settled."""

    path: Path
    format_name: str
    format: Format
    shape: str
    columns: dict[str, str]
    limit: int | None
    draw: Draw | None = None
    """Which of the samples to take; all when left out."""
    shard: Shard | None = None
    """Of which part of them; of all when left out."""
    known: Known | None = None
    """What it holds, once it was read."""

    def __iter__(self) -> Iterator[tuple[Sample, Record]]:
        rows, draw = with_ids(self._records(), self.shard), self.draw
        return rows if draw is None else (row for row in rows if row[0] in draw)

    def samples(self) -> Iterator[Sample]:
        """The samples alone, in input order."""
        return (sample for sample, _ in self)

    def read_through(self, use: Callable[[Iterator[Record]], T]) -> tuple[Source, T]:
        """Read every record once: the source with what is known then, and what *use* makes of the records.

        A bad row shows here, before the first paid call. The records are those of all shards.

        Raises:
            DataError: naming file, row and the way out.
        """
        content = self.known.content if self.known else self.content_hash()
        samples = 0

        def records() -> Iterator[Record]:
            nonlocal samples
            for record in self._records():
                samples += self.shard is None or self.shard.holds(record.pair)
                yield record

        reading = records()
        made = use(reading)
        deque(reading, maxlen=0)
        return evolve(self, known=Known(samples, content)), made

    def check_unchanged(self) -> None:
        """Whether the file is still what it was when it was first read; asked before anything is written from it.

        Raises:
            DataError: it is not.
        """
        if self.known is None:
            return
        try:
            same = self.content_hash() == self.known.content
        except OSError:
            same = False
        if not same:
            raise DataError(
                f"{self.path}: changed while it was in use, so nothing was written from it; answers that were paid for "
                "are kept: put the file back as it was and give the command again, or begin a new run with the new one"
            )

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Within, an error that may come from a changed file is told as that, if it has changed.

        Raises:
            DataError: as :meth:`check_unchanged`.
        """
        try:
            yield
        except Exception as error:
            # What a provider or a disk says is no consequence of it; a row too many somewhere may be.
            if isinstance(error, DataError) or not isinstance(error, RtError):
                self.check_unchanged()
            raise

    def count(self) -> int:
        """Number of samples. Reads all of them if that was not done.

        Raises:
            DataError: naming file, row and the way out.
        """
        if self.known is not None:
            return self.known.samples
        return sum(1 for _ in (self if self.draw or self.shard else self._records()))

    def drawing(self, count: int, seed: int) -> Source:
        """The same source with *count* of its samples only, drawn at random; all of them if there are no more.

        Raises:
            DataError: as :meth:`count`.
        """
        *_, most = heapq.nsmallest(count, (_place(seed, sample) for sample in self.samples()))
        known = self.known and evolve(self.known, samples=min(count, self.known.samples))
        return evolve(self, draw=Draw(seed, most), known=known)

    def facts(self) -> dict[str, Any]:
        """What may not change in a run directory. Which samples of them are taken may, but not the shard."""
        shard = {"shard": str(self.shard)} if self.shard else {}
        content = self.known.content if self.known else self.content_hash()
        return {"content": content, "shape": self.shape, "columns": self.columns, **shard}

    def content_hash(self) -> str:
        """SHA-256 of the file, or of every file of the directory with its name."""
        whole = hashlib.sha256()
        for path in self._files():
            # A name need not be text.
            whole.update(os.fsencode(path.relative_to(self.path.parent if self.path.is_file() else self.path)))
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        return whole.hexdigest()

    def size(self) -> int:
        """Bytes of the file, or of all files of the directory; of a shard its share of them."""
        whole = sum(path.stat().st_size for path in self._files())
        return whole // self.shard.of if self.shard else whole

    def _files(self) -> list[Path]:
        return sorted(p for p in self.path.rglob("*") if p.is_file()) if self.path.is_dir() else [self.path]

    def _records(self) -> Iterator[Record]:
        return read_records(self.path, self.format, self.shape, self.columns, self.limit)

    def __str__(self) -> str:
        shard = f", shard {self.shard}" if self.shard else ""
        return f"{self.path}: {self.format_name}, {self.shape} columns{shard}"


def _place(seed: int, sample: Sample) -> str:
    """Where a sample stands in the random order that a seed gives."""
    return digest([seed, sample.id])


def find_format(host: Host, path: Path, name: str | None) -> tuple[str, Format]:
    """The format called *name*, or the one that *path* looks like, with its name.

    Raises:
        DataError: there is no such file, or nothing reads it.
    """
    make = Builder(host)
    if name is not None:
        if not path.exists():
            raise DataError(f"{path}: no such file")
        return name, make("formats", name)
    found = detect_format(path, _formats(host))
    return found, make("formats", found)


def _formats(host: Host) -> dict[str, Format]:
    """Every format that can be made with its defaults. One that cannot is named and left out."""
    host.load()
    make, formats = Builder(host, looking=True), dict[str, Format]()
    for name in host.registry.names("formats"):
        try:
            formats[name] = make("formats", name)
        except RtError as error:
            _log.warning(shown(f"format '{name}' is left out: {error}"))
    return formats


def open_source(host: Host, data: Data, limit: int | None = None) -> Source:
    """Find out how to read *data*.

    Raises:
        DataError: it does not exist, is empty, or has neither a known format nor the columns of a shape.
    """
    path = Path(data.path)
    name, reader = find_format(host, path, data.format)
    shape = data.shape or read_shape(path, reader, data.columns)
    part = None if data.shard is None else Shard.parse(data.shard)
    return Source(path, name, reader, shape, data.columns, limit, shard=part)


def output_format(host: Host, path: Path, default: str) -> str:
    """The name of the format to write *path* in: the one of its ending, else *default*."""
    formats = _formats(host).items()
    return next((one for one, form in formats if path.suffix and path.suffix in form.suffixes), default)
