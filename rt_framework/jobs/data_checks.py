"""Checks of a data set for ``rt doctor``: whether every row can be read, and what the rows hold."""

from __future__ import annotations

from collections.abc import Generator

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
    """Yield whether the rows can be read, and how many of them are empty or stand there twice.

    Returns:
        the rows that can be read; ``None`` if the data set cannot be used.
    """
    try:
        read = yield from check_rows(source)
        if read is None:
            return None
        yield Finding(str(read), number_of(read.count(), "sample"))
        seen = see_rows(read.entries())
    except RtError as error:
        yield Finding(source.name, str(error), good=False)
        return None
    yield Finding("data: rows", seen.flaws or "no row is empty, and none repeats another", sure=not seen.flaws)
    if seen.repeated:
        yield Finding("data: passages", seen.repeated, sure=False)
    return read
