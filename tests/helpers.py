"""Helpers of several test modules: the command line in this process, small data, installed packages, and fakes.

This module is a plugin too: ``rt -p tests.helpers`` offers a student, teachers and a reporter that need no model.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from rt_framework import hookimpl
from rt_framework.model import Reply, Request
from rt_framework.spans import EncodedSpan, SpanLoss
from rt_framework.testing.fakes import FakeStudent, ScriptedTeacher, rewriting
from rt_framework.testing.project import Cli as ProjectCli
from rt_framework.testing.project import Done, fresh_rt

REPO = Path(__file__).resolve().parent.parent
PLUGIN = "tests.helpers"
"""What to give to ``rt -p``."""

# --- the command line -------------------------------------------------------------------------


class Cli(ProjectCli):
    """``rt`` with the fakes of this module unless told not to."""

    def __call__(self, *arguments: object, plugin: bool = True) -> Done:
        """Run ``rt`` with these arguments."""
        return super().__call__(*(["-p", PLUGIN] if plugin else []), *arguments)


def rt(
    *arguments: object, cwd: Path, env: Mapping[str, str] | None = None, path: Sequence[Path] = (), timeout: float = 120
) -> Done:
    """Run ``rt`` in a fresh process; *path* comes before everything else that Python imports from."""
    told = {name: value for name, value in os.environ.items() if name != "RT_LOAD_PLUGINS"}
    told |= {"PYTHONPATH": os.pathsep.join(map(str, (*path, REPO))), "HF_HUB_OFFLINE": "1", **(env or {})}
    return fresh_rt(*arguments, cwd=cwd, env=told, timeout=timeout)


the_error = Done.error

# --- data -------------------------------------------------------------------------------------


def rows(count: int = 6) -> list[dict[str, str]]:
    """Alpaca rows that differ, with a column that no shape knows."""
    return [
        {
            "instruction": f"Name {number} things that float on water.",
            "input": "In one line." if number % 2 else "",
            "output": f"A cork, a leaf and boat number {number}, as long as it has no hole.",
            "topic": f"physics {number}",
        }
        for number in range(1, count + 1)
    ]


def write_json(path: Path, value: object) -> Path:
    """Write *value* as JSON and return *path*."""
    path.write_text(json.dumps(value), "utf-8")
    return path


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


CONFIG = """\
data:
  path: data.json
teacher: scripted
student: fake
pipeline:
  - reflect: instruction
  - choose: {highest: ifd}
  - reflect: response
  - choose: {lowest: r-ifd}
"""
"""Selective Reflection-Tuning with fakes, without its final gate."""

# --- installed packages -----------------------------------------------------------------------


def install(
    site: Path,
    package: str,
    code: Mapping[str, str],
    points: Mapping[str, str] | None = None,
    group: str = "rt_framework",
    version: str = "1.0",
) -> None:
    """Write modules and a ``dist-info`` directory, as pip would leave them.

    Args:
        site: directory that is, or will be, on ``sys.path``.
        package: name of the distribution.
        code: source of each module.
        points: entry points of *group*: name to target.
        version: version of the distribution.
    """
    site.mkdir(parents=True, exist_ok=True)
    for module, source in code.items():
        (site / f"{module}.py").write_text(source, "utf-8")
    info = site / f"{re.sub('[-.]+', '_', package)}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n", "utf-8")
    lines = [f"{name} = {target}" for name, target in (points or {}).items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]), "utf-8")


# --- fakes, as a plugin -----------------------------------------------------------------------


def _note(line: str) -> None:
    """Tell a test what happened in this process, or in another one: a line in the file that RT_TEST_LOG names."""
    if "RT_TEST_LOG" in os.environ:
        with Path(os.environ["RT_TEST_LOG"]).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class NotedStudent(FakeStudent):
    """A fake student that notes every forward pass."""

    def score(self, batch: Sequence[EncodedSpan]) -> list[SpanLoss]:
        """As the fake student."""
        _note("forward")
        return super().score(batch)


@frozen
class TeacherSettings:
    """Options of the scripted teacher."""

    answer: str = "good"
    """``good`` or ``chatter`` (no form at all)."""
    extra: dict[str, str] = field(factory=dict)


def make_teacher(settings: TeacherSettings) -> ScriptedTeacher:
    """A scripted teacher that notes every call."""

    def answer(request: Request) -> str | Reply:
        _note("call")
        if settings.answer == "chatter":
            return "Sure! Here you go."
        return rewriting(request)

    return ScriptedTeacher(answer)


@frozen
class WitnessSettings:
    """Options of the witness."""

    words: tuple[str, ...] = ("started",)
    """What to note when a run starts."""


class Witness:
    """A reporter that notes the names of the events it is told."""

    def __init__(self, settings: WitnessSettings) -> None:
        self._words = settings.words

    @hookimpl
    def rt_run_started(self, event: object) -> None:
        for word in self._words:
            _note(word)

    @hookimpl
    def rt_run_finished(self, event: object) -> None:
        _note("finished")


class Clumsy:
    """A reporter that raises."""

    @hookimpl
    def rt_run_started(self, event: object) -> None:
        raise RuntimeError("clumsy")


class Clinging:
    """A reporter that raises when it should end."""

    @hookimpl
    def rt_run_finished(self, event: object) -> None: ...

    def close(self) -> None:
        raise RuntimeError("not\nyet")


@hookimpl
def rt_register_students(register: Any) -> None:
    register("fake", f"{PLUGIN}:NotedStudent", help="losses are hashes")


@hookimpl
def rt_register_teachers(register: Any) -> None:
    register("scripted", f"{PLUGIN}:make_teacher", help="answers are made up", settings=TeacherSettings)


@hookimpl
def rt_register_reporters(register: Any) -> None:
    register("witness", f"{PLUGIN}:Witness", settings=WitnessSettings)
    register("clumsy", f"{PLUGIN}:Clumsy")
    register("clinging", f"{PLUGIN}:Clinging")


# --- the ledger as another program reads it ---------------------------------------------------


QUESTIONS = "SELECT question(request, pattern) FROM calls"
"""The beginning of a query for :func:`with_questions`."""


def with_questions(db: sqlite3.Connection) -> sqlite3.Connection:
    """Return a connection to a ledger with an SQL function, the JSON text of ``question(request, pattern)``."""

    def question(request: bytes | str, pattern: str | None) -> str:
        if pattern is None:
            return str(request)
        (text,) = db.execute("SELECT text FROM patterns WHERE key = ?", (pattern,)).fetchone()
        return zlib.decompressobj(zdict=text).decompress(request).decode("utf-8", "surrogatepass")

    db.create_function("question", 2, question)
    return db


class Living:
    """The objects of some classes that are made from now on and are still in memory.

    The collector's own list, `gc.get_objects()`, also holds tuples that other threads are still making, and the threads
    then fail.

    Args:
        monkeypatch: undoes it.
        classes: the classes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *classes: type) -> None:
        self._alive: set[int] = set()
        self.most = 0
        """Most that were in memory together."""
        for one in classes:
            monkeypatch.setattr(one, "__init__", self._noticed(one.__init__))

    def __len__(self) -> int:
        return len(self._alive)

    def _noticed(self, make: Callable[..., None]) -> Callable[..., None]:
        def made(this: object, *args: object, **settings: object) -> None:
            make(this, *args, **settings)
            self._alive.add(id(this))
            self.most = max(self.most, len(self._alive))
            weakref.finalize(this, self._alive.discard, id(this))

        return made
