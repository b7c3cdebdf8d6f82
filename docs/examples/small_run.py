"""A small run for tests of plugins: four rows, a student and a teacher that need no model."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from rt_framework import hookimpl
from rt_framework.config import Config
from rt_framework.hookspecs import Register
from rt_framework.jobs.running import run
from rt_framework.plugin import Host, structure
from rt_framework.testing import ScriptedTeacher
from rt_framework.testing.fakes import rewriting

ROWS = [
    {"instruction": "Name a river.", "input": "", "output": "The Rhine is a river."},
    {"instruction": "Add the numbers.", "input": "2 and 3", "output": "2 and 3 add up to 5, as every child knows."},
    {"instruction": "Name a river.", "input": "", "output": "The Nile."},
    {"instruction": "Say nothing at all.", "input": "", "output": ""},
]


def teacher() -> ScriptedTeacher:
    """Answers every built-in reflection in the form it asks for."""
    return ScriptedTeacher(rewriting)


def run_small(where: Path, pipeline: object, *modules: str, **keys: Any) -> list[dict[str, Any]]:
    """Run the rows through *pipeline* and return the lines of ``scores.jsonl``, one for each row.

    Args:
        where: an empty directory.
        pipeline: as in a config.
        modules: plugin modules to load besides.
        keys: further keys of the config.
    """
    data = where / "rows.json"
    data.write_text(json.dumps(ROWS))
    whole = {"data": {"path": str(data)}, "teacher": "fake", "student": "fake", "pipeline": pipeline, **keys}
    host = Host(only=(), modules=["small_run", *modules], strict=True)
    asyncio.run(run(host, structure(whole, Config), where / "run"))
    return [json.loads(line) for line in (where / "run" / "scores.jsonl").read_text().splitlines()]


@hookimpl
def rt_register_teachers(register: Register) -> None:
    """Offer ``fake``."""
    register("fake", "small_run:teacher", help="answers by rule")


@hookimpl
def rt_register_students(register: Register) -> None:
    """Offer ``fake``: the loss of a word is a hash of the words before it."""
    register("fake", "rt_framework.testing:FakeStudent", help="losses are hashes")
