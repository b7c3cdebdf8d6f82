"""A folder with data and a config, ``rt`` called in it, and what it leaves."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from rt_framework.testing.processes import environment, python

if TYPE_CHECKING:
    import pytest

PARTS = "rt_framework.testing.parts"
_MAIN = "from rt_framework.cli import main; main()"
ROWS = (
    {"instruction": "Name a river.", "input": "", "output": "The Rhine is a river in Europe."},
    {"instruction": "Add the numbers.", "input": "2 and 3", "output": "2 and 3 add up to 5, as every child knows."},
    {"instruction": "Name a river.", "input": "", "output": "The Nile."},
    {"instruction": "Say nothing at all.", "input": "", "output": ""},
)
"""Rows that differ in what matters: with and without input, long and short, one without a response."""


@frozen
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Standard output with every run of white space as one blank: tables without their layout."""
        return " ".join(self.out.split())

    def error(self, code: int = 2) -> str:
        """The one line on standard error of a command that failed as it should, without ``Error:``.

        Raises:
            AssertionError: it ended with another code, or said more or less than one line.
        """
        assert self.code == code, self
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("Error: ") and "Traceback" not in lines[0], self.err
        return lines[0].removeprefix("Error: ")


def fresh_rt(*arguments: object, cwd: Path, env: Mapping[str, str], timeout: float = 120.0) -> Done:
    """Run ``rt`` in a process of its own, in that folder and environment, for at most so many seconds."""
    done = python(_MAIN, *arguments, env=env, cwd=cwd, timeout=timeout)
    return Done(done.returncode, done.stdout, done.stderr)


class Cli:
    """Calls ``rt`` in this process: the same code as the installed command, without its start-up time.

    Args:
        monkeypatch: pytest's, to put the arguments in their place.
        capfd: pytest's, for what is written.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    def __call__(self, *arguments: object) -> Done:
        """Run ``rt`` with these arguments."""
        from rt_framework.cli import main

        code: Any = 0
        self._capfd.readouterr()
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["rt", *map(str, arguments)])
            patch.setattr(sys, "path", [*sys.path])
            try:
                main()
            except SystemExit as end:
                code = end.code
        return Done(code or 0, *self._capfd.readouterr())


class Project:
    """What the fixture ``rt_project`` gives. The teacher is called ``scripted``, the student ``fake``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        """The current folder."""
        self._rt = Cli(monkeypatch, capfd)

    def write(self, name: str, content: object) -> Path:
        """Write a file: text as it is, bytes too, anything else as JSON, which is YAML as well."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return path

    def rt(self, *arguments: object, plugins: Sequence[str] = (), fresh: bool = False) -> Done:
        """Call ``rt`` with the fakes, and with *plugins*: modules or files.

        Args:
            arguments: the command.
            plugins: what to load besides.
            fresh: in a process of its own, which takes about a second; where code keeps something between two calls,
                that is where it shows.
        """
        loaded = [word for plugin in (PARTS, *plugins) for word in ("-p", plugin)]
        if fresh:
            return fresh_rt(*loaded, *arguments, cwd=self.folder, env=environment())
        return self._rt(*loaded, *arguments)

    def run(self, pipeline: Any, *plugins: str, rows: Sequence[Any] = ROWS, **keys: Any) -> list[dict[str, Any]]:
        """Run rows through a pipeline; gives the records of the side file, one a row.

        Args:
            pipeline: as in a config.
            plugins: modules or files to load besides.
            rows: the data.
            keys: further keys of the config.

        Raises:
            AssertionError: the run did not end with code 0; what it said is in the message.
        """
        self.write("data.json", list(rows))
        whole = {"data": {"path": "data.json"}, "teacher": "scripted", "student": "fake", "pipeline": pipeline, **keys}
        done = self.rt("run", self.write("rt.yaml", whole), plugins=plugins)
        assert done.code == 0, done.err or done.out
        return self.records("runs/rt/scores.jsonl")

    def records(self, name: str) -> list[dict[str, Any]]:
        """The objects of a JSON lines file."""
        return [json.loads(line) for line in (self.folder / name).read_text("utf-8").splitlines()]
