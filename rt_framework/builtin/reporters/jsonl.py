"""Every event of a run as a line of JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from attrs import AttrsInstance, asdict

from rt_framework import hookimpl
from rt_framework.builtin.reporters.settings import JsonlSettings
from rt_framework.errors import DiskError
from rt_framework.hookspecs import EventHooks
from rt_framework.stdout import own


class JsonlReporter:
    """Writes ``{"event": NAME, "time": …, FIELD: …}`` a line, in ASCII: what a text holds, no terminal obeys.

    Raises:
        DiskError: the file cannot be opened.
    """

    def __init__(self, settings: JsonlSettings) -> None:
        self._file: TextIO | None = None
        if settings.path is not None:
            try:
                self._file = Path(settings.path).open("a", encoding="ascii")  # noqa: SIM115 - open as long as the run
            except OSError as error:
                raise DiskError(f"{settings.path}: cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, name: str, event: AttrsInstance) -> None:
        said = {"event": name, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), **_plain(asdict(event))}
        file = self._file or own()
        try:
            file.write(json.dumps(said) + "\n")
            file.flush()
        except BrokenPipeError:
            # Whoever read has gone. What is still to be written at exit goes nowhere, instead of failing there.
            os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
            raise


def _plain(value: Any) -> Any:
    """*value* as JSON has it: a number that is none there, and what else JSON does not know, by its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    known = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return value if known else str(value)


def _writes(hook: str) -> Any:
    """The implementation of one event hook."""

    def write(self: JsonlReporter, event: AttrsInstance) -> None:
        self._write(hook.removeprefix("rt_"), event)

    return hookimpl(write)


for _hook in vars(EventHooks):
    if _hook.startswith("rt_"):
        setattr(JsonlReporter, _hook, _writes(_hook))
