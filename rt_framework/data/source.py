"""The input of a run: counted, drawn from, and checked before anything is paid for."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from attrs import evolve, field, frozen

from rt_framework.config import Shard, TurnRules
from rt_framework.data.reading import Reader
from rt_framework.data.rows import read_records, with_ids
from rt_framework.data.shapes import CONVERSATIONS
from rt_framework.data.unread import Faults, Tally, Unread, readable, settled
from rt_framework.errors import DataError, RtError
from rt_framework.model import Record, Sample, digest

T = TypeVar("T")


@frozen
class Draw:
    """A random subset of the samples: those whose ids have the smallest hashes, whatever their order."""

    seed: int
    most: str
    """The largest hash in the subset."""

    def __contains__(self, sample: Sample) -> bool:
        return _place(self.seed, sample) <= self.most


@frozen
class Known:
    """Facts that the first reading of a source has found."""

    samples: int
    content: str
    """Hash of the bytes that were read, or else taken before the file was read: every later change is noticed."""
    faults: Faults = Faults()
    """Rows of all shards that cannot be read, and are left out of the samples."""


@frozen
class Source:
    """A data set, with its format and shape settled: files, a data set of the hub, or rows in memory."""

    reader: Reader = field(eq=False, repr=False)
    format_name: str
    """Format of the files; of rows in memory, the format in which outputs are written by default."""
    shape: str
    columns: dict[str, str]
    turns: TurnRules = TurnRules()
    """Turns of a conversation that are trained, and whether each makes a sample of its own."""
    unreadable: Literal["refuse", "drop"] = "refuse"
    """What becomes of a data set with rows that cannot be read: it is refused, or these rows are left out."""
    limit: int | None = None
    draw: Draw | None = None
    """Random subset of the samples to take; all when left out."""
    shard: Shard | None = None
    """Part of the samples to take, or to draw from; all when left out."""
    known: Known | None = None
    """Facts about the source, once it was read."""

    @property
    def name(self) -> str:
        """Name of the data set in messages: the path of a file."""
        return self.reader.name

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the data set that a user should read first."""
        conversations = self.shape in CONVERSATIONS or self.turns != TurnRules()
        return (f"data: {self}", *((f"turns: {self.turns}",) if conversations else ()))

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files and folders that are read, which nothing may be written over or into."""
        return self.reader.inputs

    def schema(self) -> Any:
        """Return the columns as a ``pyarrow.Schema``; ``None`` where they have no types.

        Raises:
            DataError: the data set cannot be read.
        """
        return self.reader.schema()

    def __iter__(self) -> Iterator[tuple[Sample, Record]]:
        return (entry for entry in self.entries() if not isinstance(entry, Unread))

    def entries(self) -> Iterator[tuple[Sample, Record] | Unread]:
        """Return an iterator over the samples with their records, and over the rows that are left out, in input order.

        A draw has no such rows.
        """
        entries, draw = with_ids(self._records(), self.shard), self.draw
        if draw is None:
            return entries
        return (entry for entry in entries if not isinstance(entry, Unread) and entry[0] in draw)

    def unread(self) -> Iterator[Unread]:
        """Return an iterator over the rows that are left out of the samples, in input order.

        The data is read for it only if there may be such rows.
        """
        none = self.unreadable == "refuse" or (self.known is not None and not self.known.faults.count)
        return (entry for entry in (() if none else self.entries()) if isinstance(entry, Unread))

    def samples(self) -> Iterator[Sample]:
        """Return an iterator over the samples alone, in input order."""
        return (sample for sample, _ in self)

    def read_through(self, use: Callable[[Iterator[Record | Unread]], T]) -> tuple[Source, T]:
        """Read every record once; return the source with the facts found, and what *use* makes of the records.

        Bad rows are found here, before the first paid call. The records are those of all shards, and with them come
        the rows that are left out of the samples.

        Raises:
            UnreadableRows: rows are bad and not to be left out; the message names every kind of fault and a way out.
            DataError: the data set cannot be read.
        """
        content = self.known and self.known.content
        if content is None and not (self.reader.hashes and self.limit is None):
            content = self.reader.content()
        samples, tally = 0, Tally()

        def records() -> Iterator[Record | Unread]:
            nonlocal samples
            for record in self._records(tally):
                if not isinstance(record, Unread):
                    samples += self.shard is None or self.shard.holds(record.pair)
                yield record

        reading = records()
        made = use(reading)
        deque(reading, maxlen=0)
        content = content or self.reader.content_read() or self.reader.content()
        return evolve(self, known=Known(samples, content, tally.faults())), made

    def check_unchanged(self) -> None:
        """Check that the file is still what it was when first read; done before anything is written from it.

        Raises:
            DataError: the file has changed.
        """
        if self.known is None:
            return
        try:
            same = self.reader.content() == self.known.content
        except OSError:
            same = False
        if not same:
            raise DataError(
                f"{self.name}: changed while it was in use, so nothing was written from it; answers that were paid for "
                "are kept: put the file back as it was and give the command again, or start a new run with the new file"
            )

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Report an error in the block as a changed file, if it may come from that and the file has changed.

        Raises:
            DataError: as :meth:`check_unchanged`.
        """
        try:
            yield
        except Exception as error:
            # Errors of a provider or a disk do not come from a changed file; data errors and unforeseen errors may.
            if isinstance(error, DataError) or not isinstance(error, RtError):
                self.check_unchanged()
            raise

    def count(self) -> int:
        """Return the number of samples. All of them are read if that was not done.

        Raises:
            DataError: the data set cannot be read, or rows are bad and not to be left out.
        """
        if self.known is not None:
            return self.known.samples
        return sum(1 for _ in (self if self.draw or self.shard else readable(self._records())))

    def drawing(self, count: int, seed: int) -> Source:
        """Return the same source with only *count* of its samples, drawn at random, or with all if there are fewer.

        Raises:
            DataError: as :meth:`count`.
        """
        *_, most = heapq.nsmallest(count, (_place(seed, sample) for sample in self.samples()))
        known = self.known and evolve(self.known, samples=min(count, self.known.samples))
        return evolve(self, draw=Draw(seed, most), known=known)

    @property
    def faults(self) -> Faults:
        """The rows of all shards that are left out because they cannot be read, once the source was read."""
        return self.known.faults if self.known else Faults()

    @property
    def left_out(self) -> str:
        """A line for the user on the rows that are left out because they cannot be read; empty if there are none."""
        faults = self.faults
        return f"{faults.share} and are left out: {'; '.join(faults.lines)}" if faults.count else ""

    def facts(self) -> dict[str, Any]:
        """Return the facts that must not change in a run directory, the shard included, limit and draw excluded."""
        shard = {"shard": str(self.shard)} if self.shard else {}
        content = self.known.content if self.known else self.reader.content()
        columns = {"shape": self.shape, "columns": self.columns, **self.turns.facts()}
        rows = {} if self.unreadable == "refuse" else {"unreadable": self.unreadable}
        return {"content": content, **columns, **rows, **self.reader.facts, **shard}

    def size(self) -> int:
        """Return the bytes of the data set; for a shard, its share of them."""
        whole = self.reader.size()
        return whole // self.shard.of if self.shard else whole

    def _records(self, tally: Tally | None = None) -> Iterator[Record | Unread]:
        rows = self.reader.rows()  # in a generator, so that the file is opened only when its rows are taken
        read = read_records(rows, self.shape, self.columns, self.limit, self.turns, self._place_of)
        yield from settled(self.name, read, self.unreadable == "drop", tally)

    def _place_of(self, number: int) -> str:
        return self.reader.place(number).removeprefix(f"{self.name}: ")

    def __str__(self) -> str:
        shard = f", shard {self.shard}" if self.shard else ""
        return f"{self.name}: {self.format_name}, {self.shape} columns{shard}"


def _place(seed: int, sample: Sample) -> str:
    """Return a sample's sort key in the random order that a seed gives."""
    return digest([seed, sample.id])
