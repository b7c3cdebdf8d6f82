"""A reporter: a line of JSON for each failure, and one for the end, in a file."""

from __future__ import annotations

import json
from pathlib import Path

from attrs import asdict, frozen

from rt_framework import hookimpl
from rt_framework.events import RunFinished, SampleFailed
from rt_framework.hookspecs import Register


@frozen
class LogSettings:
    """Options of ``log``."""

    path: str
    """File to append to."""


class LogReporter:
    """Implements only the event hooks that it needs."""

    def __init__(self, settings: LogSettings) -> None:
        self._path = Path(settings.path)
        self.outputs = (self._path,)

    @hookimpl
    def rt_sample_failed(self, event: SampleFailed) -> None:
        """Write the failure; this must be quick, because the run waits."""
        self._write({"event": "sample_failed", **asdict(event)})

    @hookimpl
    def rt_run_finished(self, event: RunFinished) -> None:
        """Write the outcomes; all outputs of the run are on disk now."""
        self._write({"event": "run_finished", **event.summary.outcomes})

    def _write(self, line: dict[str, object]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@hookimpl
def rt_register_reporters(register: Register) -> None:
    """Offer ``log``."""
    register("log", "reporter:LogReporter", help="failures and the end, as JSON lines", settings=LogSettings)
