"""Rows of a whole pack, such as every loader can read them: one set of columns, and no text that UTF-8 cannot hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from attrs import field, frozen

from rt_framework.export.pack_rows import Row, Unfit, goes_on
from rt_framework.model import Pair

_SURROGATE = re.compile("[\ud800-\udfff]")


@frozen
class PackData:
    """All rows of a pack, in the order of the samples or preferences that they are made of.

    A loader decides at the beginning of a file what columns there are, and whether the messages in them differ in their
    keys; rows further down with others stop it. Therefore the first of each kind come before all others, and all rows
    have the same columns. To find them, everything is read twice.
    """

    make: Callable[[Any], list[Row]]
    """Function that returns the rows of a sample or a preference; it may raise ``Unfit``."""
    source: Callable[[], Iterable[Any]]
    """Function that reads all samples or preferences once."""
    counts: Counter[str] = field(factory=Counter)
    """Number of samples or preferences that have rows, ``used``; of those without the turns behind their last trained
    one, ``shortened``; and 1 for ``tools`` if a row has some. Complete when all rows were read."""
    left_out: Counter[str] = field(factory=Counter)
    """Number of samples or preferences that have no rows, by reason."""

    def __iter__(self) -> Iterator[Row]:
        first, columns = self._kinds()
        self.counts["tools"] = "tools" in columns
        others = (one for place, one in enumerate(self.source()) if place not in first)
        for one in chain(first.values(), others):
            yield from ({**columns, **row} for row in self._of(one))

    def _kinds(self) -> tuple[dict[int, Any], dict[str, None]]:
        """Return the first of each kind by their places, and the columns of all rows."""
        first, columns, seen = dict[int, Any](), dict[str, None](), set[object]()
        for place, one in enumerate(self.source()):
            try:
                rows = self.make(one)
            except Unfit:
                continue
            kinds = {kind for row in rows for kind in _kinds_in(row)}
            if not kinds <= seen:
                first[place] = one
                seen |= kinds
                columns |= {column: None for row in rows for column in row}
        return first, columns

    def _of(self, one: Any) -> list[Row]:
        try:
            rows = self.make(one)
        except Unfit as reason:
            self.left_out[str(reason)] += 1
            return []
        self.counts["used"] += 1
        self.counts["shortened"] += isinstance(one, Pair) and goes_on(one)
        return rows


def _kinds_in(row: Row) -> Iterator[object]:
    """Yield what a loader has to know of a row: its columns, and the keys of the messages in each."""
    for column, value in row.items():
        messages = value if isinstance(value, list) else [value]
        yield from ((column, frozenset(one) if isinstance(one, Mapping) else None) for one in messages)


@frozen
class Readable:
    """Rows that every loader can read: a lone surrogate, which UTF-8 cannot hold, becomes ``?``, as in CSV and Parquet.

    JSON that escapes a lone surrogate is valid, but the loaders refuse the whole file because of it.
    """

    rows: Iterable[Mapping[str, Any]]
    counts: dict[str, int] = field(factory=lambda: {"rows": 0, "replaced": 0})
    """Number of rows given so far, and of those that were changed."""

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for row in self.rows:
            plain = _plain(row)
            self.counts["rows"] += 1
            self.counts["replaced"] += plain != row
            yield plain


def replacements(rows: int) -> str:
    """Return a note for the user on the number of rows that were changed; empty if none was."""
    return f"; lone surrogates became '?' in {rows} of them" if rows else ""


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("?", value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
