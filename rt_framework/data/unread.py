"""Rows that cannot be read: counted by kind, and either left out of the samples or refused together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from rt_framework.errors import UnreadableRows
from rt_framework.model import Record

_VARYING = re.compile(r"""(?<!column )(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|\d+(?:\.\d+)?""")
"""Parts of a message that differ between faults of one kind: numbers and quoted values. The name of a column is none,
since the same fault in two columns has two causes."""

_MOST_KINDS = 50
"""Most kinds that are counted apart; the rows of all further kinds are counted together."""

_DROP = "data.unreadable: drop (--unreadable drop)"

REASON = "cannot be read: "
"""Beginning of the reason with which a row is left out."""


@frozen
class Unread:
    """A row that cannot be read."""

    number: int
    """Number of the row; among the samples, the number that its sample would have."""
    place: str
    """Number and, of several files, the file of the row, in words."""
    row: Mapping[str, Any]
    fault: str
    """What is wrong with the row, and the way out."""

    @property
    def reason(self) -> str:
        """Reason with which the row is left out of the samples."""
        return f"{REASON}{self.fault}"


@frozen
class Kind:
    """Rows with the same fault."""

    fault: str
    """The fault of the first of these rows."""
    place: str
    """Place of the first of these rows."""
    count: int

    def __str__(self) -> str:
        where = f"1 row, {self.place}" if self.count == 1 else f"{self.count:,} rows, the first is {self.place}"
        return " ".join(f"{where}: {self.fault}".split())


@frozen
class Faults:
    """Rows of a reading that cannot be read, by kind."""

    rows: int = 0
    """Number of rows that were looked at."""
    kinds: tuple[Kind, ...] = ()
    """The kinds of faults, the most common first."""

    @property
    def count(self) -> int:
        """Number of rows that cannot be read."""
        return sum(kind.count for kind in self.kinds)

    @property
    def lines(self) -> tuple[str, ...]:
        """A line for each kind, with its count and its first row."""
        return tuple(map(str, self.kinds))

    @property
    def share(self) -> str:
        """Number of rows that cannot be read, among all rows, in words."""
        return f"{self.count:,} of {self.rows:,} rows cannot be read"

    def reasons(self) -> dict[str, int]:
        """Return the number of rows by the reason with which they are left out."""
        reasons: Counter[str] = Counter()
        for kind in self.kinds:
            reasons[f"{REASON}{kind.fault}"] += kind.count
        return dict(reasons)

    def refusal(self, name: str) -> UnreadableRows:
        """Return the error that names every kind, and the setting that goes on without these rows if others are left.

        Args:
            name: name of the data set.
        """
        if self.count == 1:
            (kind,) = self.kinds
            way_out = f"; or leave the row out with {_DROP}" if self.rows > 1 else ""
            return UnreadableRows(f"{name}: {kind.place}: {kind.fault}{way_out}")
        if self.count == self.rows:
            head = f"none of its {self.rows:,} rows can be read; correct them, or see data.shape and data.columns"
        else:
            head = f"{self.share}; correct them, or leave them out with {_DROP}"
        return UnreadableRows(f"{name}: {head}", self.lines)


class Tally:
    """Count of the rows of one reading, and of those that cannot be read, by kind; it holds no row."""

    def __init__(self) -> None:
        self.rows = 0
        self._kinds: dict[str, Kind] = {}

    def add(self, unread: Unread) -> None:
        """Count a row that cannot be read."""
        key = _VARYING.sub("…", unread.fault)
        fault, place = unread.fault, unread.place
        if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            key = fault = "faults of further kinds"
        kind = self._kinds.get(key, Kind(fault, place, 0))
        self._kinds[key] = evolve(kind, count=kind.count + 1)

    def counting(self, rows: Iterable[Unread]) -> Iterator[Unread]:
        """Yield rows that cannot be read, and count them on the way."""
        for row in rows:
            self.rows += 1
            self.add(row)
            yield row

    def faults(self) -> Faults:
        """Return the counts."""
        return Faults(self.rows, tuple(sorted(self._kinds.values(), key=lambda kind: -kind.count)))


def settled(
    name: str, rows: Iterable[Sequence[Record] | Unread], drop: bool, tally: Tally | None = None
) -> Iterator[Record | Unread]:
    """Yield the records of rows, and the rows that cannot be read if these are left out.

    Otherwise nothing is yielded after the first of them, but all rows are looked at, so that the error names every
    kind of fault.

    Args:
        name: name of the data set.
        rows: the records of each row, or the row if it cannot be read.
        drop: whether rows that cannot be read are left out of the samples.
        tally: counts the rows.

    Raises:
        UnreadableRows: a row cannot be read and is not to be left out, or no row can be read. Raised while iterating.
    """
    tally, refused, any_read = tally or Tally(), False, False
    for row in rows:
        tally.rows += 1
        if isinstance(row, Unread):
            tally.add(row)
            refused = refused or not drop
            if drop:
                yield row
        elif not refused:
            any_read = True
            yield from row
    if refused or (tally.rows and not any_read):
        raise tally.faults().refusal(name)


def readable(rows: Iterable[Record | Unread]) -> Iterator[Record]:
    """Yield the records without the rows that cannot be read."""
    return (row for row in rows if not isinstance(row, Unread))
