"""Checks of a data set for ``rt doctor``: whether every row can be read, and what the rows hold."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from rt_framework.data import Source
from rt_framework.errors import RtError, UnreadableRows
from rt_framework.jobs.rows_seen import see_rows
from rt_framework.model import Finding
from rt_framework.text import number_of

_UNREAD = "unreadable rows"


def check_rows(source: Source) -> Generator[Finding, None, Source | None]:
    """Check that every row of a data set can be read; find each kind of fault, with its count and its first row.

    Returns:
        the source with what the reading found out; ``None`` if it is refused.

    Raises:
        RtError: the data set cannot be read.
    """
    try:
        source, _ = source.read_through(lambda _: None)
    except UnreadableRows as error:
        yield Finding(source.name, error.head.removeprefix(f"{source.name}: "), good=False)
        yield from (Finding(_UNREAD, kind, good=False) for kind in error.kinds)
        return None
    if source.faults.count:
        yield Finding(source.name, f"{source.faults.share} and are left out (unreadable: drop)", sure=False)
        yield from (Finding(_UNREAD, kind, sure=False) for kind in source.faults.lines)
    return source


def check_data(source: Source) -> Generator[Finding, None, Source | None]:
    """Check that the rows can be read; find how many are empty or equal, and a passage that many answers share.

    Returns:
        as :func:`check_rows`, also where the data set cannot be read.
    """
    try:
        read = yield from check_rows(source)
        if read is not None:
            yield Finding(str(read), number_of(read.count(), "sample"))
            yield from row_findings(read)
    except RtError as error:
        yield Finding(source.name, str(error), good=False)
        return None
    return read


def row_findings(source: Source) -> Iterator[Finding]:
    """Yield what the first rows hold that a student should not learn from.

    Raises:
        RtError: the rows cannot be read.
    """
    seen = see_rows(source.entries())
    flaws = f"{seen.flaws}; take them out of the data" if seen.flaws else ""
    yield Finding("data: rows", flaws or "no row is empty, and none repeats another", sure=not flaws)
    if seen.repeated:
        told = f"{seen.repeated}; take it out of the answers unless it belongs there"
        yield Finding("data: passages", told, sure=False)
