"""The format and shape of the outputs: chosen, and tried on every record before anything is paid for."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework.config import Builder
from rt_framework.data import Destination, RawRow, Source, column_names, find_shape, rows_of, whole
from rt_framework.errors import DataError, DiskError, PluginError, RtError
from rt_framework.model import Record
from rt_framework.protocols import Format, PreparingFormat, TypedFormat, Write


@frozen
class Outlet:
    """A format and a shape in which every record of a source can be written."""

    form: Format
    shape: str
    columns: dict[str, str]
    _write: Write

    def write(self, part: Path, records: Iterable[Record]) -> None:
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
    schema = source.format.schema(source.path) if isinstance(source.format, TypedFormat) else None

    def tried(records: Iterator[Record]) -> Write:
        return _tried(name, target, rows_of(meaning.name, columns, records), frozenset(texts), schema)

    with _blamed(source.path):
        source, write = source.read_through(tried)
    return source, Outlet(target, meaning.name, columns, write)


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
        raise PluginError(f"format '{name}' cannot write the data: {type(error).__name__}: {error}") from error


def write_parts(source: Source, parts: Mapping[Destination, tuple[Outlet, Iterable[Record]]]) -> None:
    """Write records of a source to several destinations: all of them, or none if the source has changed meanwhile.

    Raises:
        DataError: the source has changed, or a plugin has changed more than texts.
        DiskError: a destination cannot be written.
        ConfigError: a file has appeared at a destination that must not be replaced.
    """
    with source.steady(), ExitStack() as stack:
        for destination, (outlet, records) in parts.items():
            part = stack.enter_context(whole(destination))
            with _blamed(destination.path):
                outlet.write(part, records)
        source.check_unchanged()


@contextmanager
def _blamed(path: Path) -> Iterator[None]:
    """Put the path of a file in front of errors about its data that do not name it."""
    try:
        yield
    except DataError as error:
        raise error if str(error).startswith(f"{path}: ") else DataError(f"{path}: {error}") from None
