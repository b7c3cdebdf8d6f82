"""The input of a run: found, counted and checked before anything is paid for."""

from __future__ import annotations

import hashlib
import heapq
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from rt_framework.config import Builder, Data
from rt_framework.errors import DataError, RtError
from rt_framework.host import Host
from rt_framework.model import Record, Sample, digest
from rt_framework.plain import shown
from rt_framework.protocols import Format
from rt_framework.records import detect_format, read_records, read_shape, with_ids
from rt_framework.shards import Shard

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

    def __iter__(self) -> Iterator[tuple[Sample, Record]]:
        rows, draw = with_ids(self._records(), self.shard), self.draw
        return rows if draw is None else (row for row in rows if row[0] in draw)

    def samples(self) -> Iterator[Sample]:
        """The samples alone, in input order."""
        return (sample for sample, _ in self)

    def count(self) -> int:
        """Number of samples. Reads all of them, so that a bad row shows before the first paid call.

        Raises:
            DataError: naming file, row and the way out.
        """
        return sum(1 for _ in (self if self.draw or self.shard else self._records()))

    def drawing(self, count: int, seed: int) -> Source:
        """The same source with *count* of its samples only, drawn at random; all of them if there are no more.

        Raises:
            DataError: as :meth:`count`.
        """
        *_, most = heapq.nsmallest(count, (_place(seed, sample) for sample in self.samples()))
        return evolve(self, draw=Draw(seed, most))

    def facts(self) -> dict[str, Any]:
        """What may not change in a run directory. Which samples of them are taken may, but not the shard."""
        shard = {"shard": str(self.shard)} if self.shard else {}
        return {"content": self.content_hash(), "shape": self.shape, "columns": self.columns, **shard}

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


def output_format(host: Host, path: Path, name: str | None, default: str) -> Format:
    """The format to write *path* in: the one named, else the one of its ending, else *default*.

    Raises:
        PluginError: the name is unknown.
    """
    make = Builder(host)
    if name is None:
        formats = _formats(host).items()
        name = next((one for one, form in formats if path.suffix and path.suffix in form.suffixes), default)
    form: Format = make("formats", name)
    return form
