"""Data sets, opened: the format of the files, their shape, and the source of their samples."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from rt_framework.config import Builder, Data, Shard
from rt_framework.data.files import Files, LocalFiles, visible
from rt_framework.data.guesses import guessed_columns
from rt_framework.data.hub import open_hub
from rt_framework.data.reading import FileReader, telling_row
from rt_framework.data.rows import blamed, detect_format, matching_formats, shape_of
from rt_framework.data.source import Source
from rt_framework.errors import DataError, RtError
from rt_framework.plugin import Host
from rt_framework.protocols import Format
from rt_framework.text import shown

_log = logging.getLogger("rt_framework")

_WAY_OUT = "a folder that is read as one data set holds files of one format: move it away, or begin its name with a dot"


def open_source(host: Host, data: Data, limit: int | None = None) -> Source:
    """Find out how to read *data*, and return its source.

    Raises:
        DataError: the data does not exist, is empty, or has neither a known format nor the columns of a shape.
        ConfigError: the data is on the hub, and its name is none or the extra ``hub`` is not installed.
    """
    name, reader = _reader(host, data)
    drop = data.unreadable == "drop"
    shape = data.shape or shape_of(reader.name, telling_row(reader, data.columns, drop), data.columns)
    part = None if data.shard is None else Shard.parse(data.shard)
    return Source(reader, name, shape, data.columns, data.turns, data.unreadable, limit, shard=part)


def guess_columns(host: Host, data: Data) -> dict[str, str]:
    """Return the column of each field of *data* that has another name: those that *data* names, and guesses.

    Raises:
        DataError, ConfigError: as :func:`open_source`, but for columns that fit no shape.
    """
    return guessed_columns(telling_row(_reader(host, data)[1], data.columns, drop=True), data.columns)


def _reader(host: Host, data: Data) -> tuple[str, FileReader]:
    """Return the name of the format of a data set, and what reads its rows."""
    files: Files
    if data.is_on_hub:
        files = open_hub(data)
        with blamed(files.name):
            name = data.format or detect_format(next(iter(files)), _formats(host))
    else:
        name, files = _local(host, Path(data.path), data.format)
    return name, FileReader(files, Builder(host)("formats", name))


def output_format(host: Host, path: Path, default: str) -> str:
    """Return the name of the format to write *path* in: the one of its ending, else *default*."""
    return next((name for name, form in _formats(host).items() if path.name.endswith(tuple(form.suffixes))), default)


def _local(host: Host, path: Path, name: str | None) -> tuple[str, LocalFiles]:
    """Return the name of the format of a file or directory, and its files.

    Raises:
        DataError: there is no such file, or no format recognises it or what is in it.
    """
    if name is not None:
        if not path.exists():
            raise DataError(f"{path}: no such file")
        form: Format = Builder(host)("formats", name)
        several = path.is_dir() and bool(form.suffixes) and not form.detect(path)
        if several:
            _files_within(path)
        return name, LocalFiles(path, several)
    formats = _formats(host)
    if path.is_dir() and not matching_formats(path, formats)[0]:
        return _format_within(path, formats), LocalFiles(path, several=True)
    return detect_format(path, formats), LocalFiles(path)


def _files_within(folder: Path) -> list[Path]:
    """Return what is visible in a folder, which has to be files.

    Raises:
        DataError: the folder cannot be read, is empty, or holds something else.
    """
    try:
        paths = visible(folder)
        other = next((path for path in paths if not path.is_file()), None)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from None
    if other is not None:
        raise DataError(f"{folder}: holds {other.name}, which is no file; {_WAY_OUT}")
    if not paths:
        raise DataError(f"{folder}: holds no files; give a file, or a folder of files of one format")
    return paths


def _format_within(folder: Path, formats: Mapping[str, Format]) -> str:
    """Return the name of the one format that all visible files of a folder have.

    Raises:
        DataError: there is no such format.
    """
    paths = _files_within(folder)
    known = next((path for path in paths if matching_formats(path, formats)[0]), paths[0])
    format_name = detect_format(known, formats)
    for path in paths:
        if matching_formats(path, formats)[0] != [format_name]:
            raise DataError(f"{folder}: holds {path.name} beside {known.name}, which is {format_name}; {_WAY_OUT}")
    return format_name


def _formats(host: Host) -> dict[str, Format]:
    """Return every format that can be made with its defaults. One that cannot is logged and left out."""
    host.load()
    make, formats = Builder(host, looking=True), dict[str, Format]()
    for name in host.registry.names("formats"):
        try:
            formats[name] = make("formats", name)
        except RtError as error:
            _log.warning(shown(f"format '{name}' is left out: {error}"))
    return formats
