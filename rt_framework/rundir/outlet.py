"""The format and shape of the outputs: chosen, and tried on every record before anything is paid for."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework.config import Builder
from rt_framework.data import (
    Destination,
    RawRow,
    Source,
    Spool,
    Unread,
    blamed,
    check_spoolable,
    column_names,
    find_shape,
    readable,
    rows_of,
    whole,
)
from rt_framework.errors import DiskError, PluginError, RtError, described
from rt_framework.model import Record
from rt_framework.protocols import Format, PreparingFormat, TypedFormat, Write


@frozen
class Outlet:
    """A format and a shape in which every record of a source can be written."""

    form: Format
    shape: str
    columns: dict[str, str]
    _write: Write
    holds_all: bool = True
    """True if rows that cannot be read are written as they are; else they are left out, as they may not fit."""

    def write(self, part: Path, records: Iterable[Record | Unread]) -> None:
        """Write records of the source, whose texts may have been changed.

        Raises:
            DataError: a record cannot be written after all: a plugin has changed more than texts.
        """
        self._write(part, rows_of(self.shape, self.columns, records))


def open_outlet(
    make: Builder, source: Source, form: str | None = None, shape: str | None = None
) -> tuple[Source, Outlet]:
    """Read a whole source once, and check that every record of it can be written.

    Args:
        form: name of the output format; that of the source when left out.
        shape: name of the output shape; that of the source when left out.

    Returns:
        the source with what this reading found out, and the outlet for its records.

    Raises:
        DataError: a record cannot be read or written; the message names file, row, column and a remedy.
        PluginError: the format is unknown or broken.
        ConfigError: the shape is unknown.
    """
    name = form or source.format_name
    target: Format = make("formats", name)
    meaning = find_shape(shape or source.shape)
    columns = source.columns if meaning.name == source.shape else {}
    texts = column_names(meaning, columns).values()
    schema = source.schema()
    # The types of columns are found from all rows where no schema has them, and an odd row can have odd values.
    typed = isinstance(target, TypedFormat) and schema is None
    holds_all = (meaning.name, name) == (source.shape, source.format_name) and not typed

    def tried(records: Iterator[Record | Unread]) -> Write:
        rows = rows_of(meaning.name, columns, _spoolable(records if holds_all else readable(records)))
        return _tried(name, target, rows, frozenset(texts), schema)

    with blamed(source.name):
        source, write = source.read_through(tried)
    return source, Outlet(target, meaning.name, columns, write, holds_all)


def _spoolable(records: Iterable[Record | Unread]) -> Iterator[Record | Unread]:
    """Yield the records, each of which can wait on disk while another output is written."""
    for number, record in enumerate(records):
        check_spoolable(number, record.row if isinstance(record, Unread) else record)
        yield record


def _tried(name: str, form: Format, rows: Iterator[RawRow], texts: Collection[str], schema: Any) -> Write:
    try:
        if isinstance(form, PreparingFormat):
            return form.prepare(rows, texts, schema)
        with tempfile.TemporaryDirectory(prefix="rt-check-") as folder:
            form.write(Path(folder) / f"rows{(*form.suffixes, '')[0]}", rows)
        return form.write
    except RtError:
        raise
    except OSError as error:
        raise DiskError(f"{tempfile.gettempdir()}: format '{name}' cannot write a test file there: {error}") from error
    except Exception as error:
        raise PluginError(f"format '{name}' cannot write the data: {described(error)}") from error


def write_parts(
    source: Source, marked: Iterator[tuple[bool, Record | Unread]], parts: Mapping[bool, tuple[Destination, Outlet]]
) -> None:
    """Write the records of a source to one or two outputs in one reading: all, or none if the source has changed.

    Args:
        source: the source of the records.
        marked: every record, and every row that cannot be read, with the mark of the output that it belongs to.
        parts: destination and outlet of the records with that mark; the first is written while *marked* is read, and
            the records of the second wait on disk, because a format takes the rows of one output at a time.

    Raises:
        DataError: the source has changed, or a plugin has changed more than texts.
        DiskError: a destination cannot be written.
        ConfigError: a file has appeared at a destination that must not be replaced.
    """
    first, *second = parts
    aside: Spool[Record | Unread] | None = None

    def records() -> Iterator[Record | Unread]:
        for mark, record in marked:
            if isinstance(record, Unread) and not (mark in parts and parts[mark][1].holds_all):
                continue
            if mark is first:
                yield record
            elif aside is not None:
                aside.append(record)

    with source.steady(), ExitStack() as stack:
        part = stack.enter_context(whole(parts[first][0]))
        if second:
            aside = stack.enter_context(Spool(part.parent))
        reading = records()
        _write_part(*parts[first], part, reading)
        deque(reading, maxlen=0)  # a format that stops early must not cut off the other output
        for mark in second:
            part = stack.enter_context(whole(parts[mark][0]))
            _write_part(*parts[mark], part, aside or ())
        source.check_unchanged()


def _write_part(destination: Destination, outlet: Outlet, part: Path, records: Iterable[Record | Unread]) -> None:
    with blamed(destination):
        outlet.write(part, records)
