"""A reporter that writes every event of a run as a line of JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from attrs import AttrsInstance

from rt_framework import hookimpl
from rt_framework.builtin.reporters.settings import JsonlSettings
from rt_framework.errors import ConfigError, DiskError
from rt_framework.hookspecs import EventHooks
from rt_framework.kit.as_json import plain
from rt_framework.kit.stdout import give_up, own

_MOST = 10_000_000
"""Greatest length in bytes of the first event of a file."""


class JsonlReporter:
    """Reporter that writes one line ``{"event": NAME, "time": …, FIELD: …}`` for each event, in ASCII.

    ASCII, because then no terminal can interpret a text in it as a command.

    Raises:
        ConfigError: the file holds something other than events.
        DiskError: the file cannot be opened.
    """

    def __init__(self, settings: JsonlSettings) -> None:
        self._file: TextIO | None = None
        self._path = None if settings.path is None else Path(settings.path)
        self.outputs = () if self._path is None else (self._path,)
        """Files that the reporter appends to; a run refuses a file that it reads or writes itself."""
        if self._path is not None:
            try:
                _check(self._path)
                if self._path.exists():
                    self._file = self._open(self._path)
            except OSError as error:
                raise DiskError(f"{settings.path}: cannot be written: {error.strerror or error}") from error

    def _open(self, path: Path) -> TextIO:
        return path.open("a", encoding="ascii")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, name: str, event: AttrsInstance) -> None:
        said = {"event": name, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **plain(event)}
        if self._file is None and self._path is not None:  # created late, so that a run that is refused leaves no file
            self._file = self._open(self._path)
        file = self._file or own()
        try:
            file.write(json.dumps(said) + "\n")
            file.flush()
        except BrokenPipeError:
            give_up(file)
            raise


def _check(path: Path) -> None:
    """Check that events can be appended to a file: it is new, empty or a FIFO, or its first line is an event.

    Raises:
        ConfigError: the file holds something else, or is a link.
        OSError: its folder does not exist.
    """
    if path.is_symlink():
        raise ConfigError(f"{path}: is a link, and rt does not write through links; name the file itself")
    if not path.exists():
        path.parent.stat()
    elif path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            first = file.readline(_MOST)
        try:
            known = set(json.loads(first)) >= {"event", "time"}
        except (ValueError, RecursionError, TypeError):
            known = False
        if not known:
            raise ConfigError(f"{path}: holds other content than events of a run; name another file")


def _writes(hook: str) -> Any:
    """Return the implementation of one event hook."""

    def write(self: JsonlReporter, event: AttrsInstance) -> None:
        self._write(hook.removeprefix("rt_"), event)

    return hookimpl(write)


for _hook in vars(EventHooks):
    if _hook.startswith("rt_"):
        setattr(JsonlReporter, _hook, _writes(_hook))
