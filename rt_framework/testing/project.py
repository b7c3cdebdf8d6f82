"""A test project: a folder with data and a config, calls of ``rt`` in it, and the files that they leave."""

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
"""Four different rows: with and without input, long and short, one without a response."""


@frozen
class Done:
    """Result of a command: exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Standard output with every run of white space replaced by one blank, so that tables lose their layout."""
        return " ".join(self.out.split())

    def error(self, code: int = 2) -> str:
        """Return the one error line of a command that failed as expected, without ``Error:``.

        Raises:
            AssertionError: the command ended with another code, or did not print exactly one line to standard error.
        """
        assert self.code == code, self
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("Error: ") and "Traceback" not in lines[0], self.err
        return lines[0].removeprefix("Error: ")


def fresh_rt(*arguments: object, cwd: Path, env: Mapping[str, str], timeout: float = 120.0) -> Done:
    """Run ``rt`` in a process of its own, with that folder and environment; *timeout* is in seconds."""
    done = python(_MAIN, *arguments, env=env, cwd=cwd, timeout=timeout)
    return Done(done.returncode, done.stdout, done.stderr)


class Cli:
    """A caller of ``rt`` in this process: the same code as the installed command, without its start-up time.

    Args:
        monkeypatch: pytest's fixture, to set ``sys.argv``.
        capfd: pytest's fixture, to capture the output.
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
    """Value of the fixture ``rt_project``. The teacher is called ``scripted``, the student ``fake``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        """The current folder."""
        self._rt = Cli(monkeypatch, capfd)

    def write(self, name: str, content: object) -> Path:
        """Write a file: text and bytes unchanged, anything else as JSON, which is also valid YAML."""
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
            arguments: the command and its arguments.
            plugins: modules or files to load besides.
            fresh: whether to run in a process of its own, which takes about a second; this shows where code wrongly
                relies on state kept between two calls.
        """
        loaded = [word for plugin in (PARTS, *plugins) for word in ("-p", plugin)]
        if fresh:
            return fresh_rt(*loaded, *arguments, cwd=self.folder, env=environment())
        return self._rt(*loaded, *arguments)

    def run(self, pipeline: Any, *plugins: str, rows: Sequence[Any] = ROWS, **keys: Any) -> list[dict[str, Any]]:
        """Run rows through a pipeline; return the records of the side file, one per row.

        Args:
            pipeline: as in a config.
            plugins: modules or files to load besides.
            rows: the data.
            keys: further keys of the config.

        Raises:
            AssertionError: the run did not end with code 0; its output is in the message.
        """
        self.write("data.json", list(rows))
        whole = {"data": {"path": "data.json"}, "teacher": "scripted", "student": "fake", "pipeline": pipeline, **keys}
        done = self.rt("run", self.write("rt.yaml", whole), plugins=plugins)
        assert done.code == 0, done.err or done.out
        return self.records("runs/rt/scores.jsonl")

    def records(self, name: str) -> list[dict[str, Any]]:
        """Return the objects of a JSON lines file in the folder."""
        return [json.loads(line) for line in (self.folder / name).read_text("utf-8").splitlines()]
