"""Runs that are killed at a chosen moment, forked from a process that has imported everything already."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework.config.reading import read_config
from rt_framework.data import replacing
from rt_framework.errors import RtError
from rt_framework.jobs.running import run
from rt_framework.ledger.attempts import AttemptTable
from rt_framework.ledger.losses import LossTable
from rt_framework.ledger.samples import SampleTable
from rt_framework.ledger.writer import Writer
from rt_framework.plugin.host import Host
from rt_framework.rundir.directory import PROGRESS
from rt_framework.testing.server import FaultServer
from tests.forks import arm, deadly, forked
from tests.helpers import QUESTIONS, with_questions
from tests.reliability.jobs import http_job, questions
from tests.run_helpers import http_answer, outputs, rows

SAMPLES = 6

PLACES: dict[str, tuple[Any, str, bool]] = {
    "before an intent": (AttemptTable, "intend", False),
    "before a request is sent": (AttemptTable, "intend", True),
    "before an answer is committed": (AttemptTable, "answered", False),
    "before an answer is read": (AttemptTable, "answered", True),
    "in the middle of a commit": (Writer, "_commit", False),
    "after losses are committed": (LossTable, "put", True),
    "before a sample is recorded": (SampleTable, "record", False),
    "after a sample is recorded": (SampleTable, "record", True),
    "before an output is renamed": (replacing, "_replace", False),
}
"""Where a run can be killed: what is called there, and whether to die after it rather than before."""


@frozen
class Point:
    """A moment: when a run comes to a place for the n-th time, or some seconds after it has sent something."""

    place: str = ""
    count: int = 1
    seconds: float = 0.0

    @classmethod
    def draw(cls, seed: int) -> Point:
        """Every other one by the clock."""
        source = random.Random(seed)
        if seed % 2:
            return cls(seconds=source.uniform(0, 0.15))
        place = list(PLACES)[seed // 2 % len(PLACES)]
        return cls(place, source.randint(1, 2 if "output" in place else 6))


class _Deadly:
    """A connection whose commits are never made."""

    def __init__(self, db: sqlite3.Connection, die: Callable[[], None]) -> None:
        self._db, self._die = db, die

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT":
            self._die()
        return self._db.execute(sql, *values)


def _arm(point: Point) -> None:
    """Make this process kill itself there."""
    owner, name, after = PLACES[point.place]
    method, die = getattr(owner, name), deadly(point.count)

    def uncommitted(writer: Any, db: sqlite3.Connection, jobs: Any) -> Any:
        return method(writer, _Deadly(db, die), jobs)

    def dying(part: Path, path: Path, room: Path) -> Any:
        if path.name != PROGRESS:  # that comes each second
            die()
        return method(part, path, room)

    if name in ("_commit", "_replace"):
        setattr(owner, name, uncommitted if name == "_commit" else dying)
    else:
        arm(owner, name, die, after)


def work(config: Path, run_dir: Path, point: Point | None) -> None:
    """A whole run, in a forked process."""
    os.environ["OPENAI_API_KEY"] = "sk-test"  # the environment is that of the process that forks
    if point is not None and point.place:
        _arm(point)
    host = Host(modules=["tests.fakes_plugin"], only=[], strict=True)
    try:
        asyncio.run(run(host, read_config(config), run_dir))
    except RtError as error:
        sys.exit(error.exit_code)


@frozen
class Killed:
    """A run that was killed at a point, and taken to its end."""

    point: Point
    died: bool
    """Whether the point came before the end of the run."""
    committed: frozenset[str]
    """Questions whose answers were committed when it died."""
    open: frozenset[str]
    """Questions that were under way."""
    asked: Counter[str]
    """How often each reached the server until then."""
    asked_again: Counter[str]
    """How often each reached it afterwards."""
    unknown: frozenset[str]
    """Questions that the ledger lists as perhaps paid for."""
    outputs: dict[str, bytes]


def killed(folder: Path, *points: Point, teacher: str = "http", **more: Any) -> Killed:
    """Run, kill at each point in turn, run to the end. What is told of a kill is told of the last one.

    Keys of *more* beat those of the job.
    """
    folder.mkdir()
    run_dir = folder / "run"
    with FaultServer(_slowly) as server:
        config = http_job(folder, server, rows(SAMPLES), **_teacher(teacher, server), **more)
        for point in points:
            died = _until(forked(work, config, run_dir, point), point, server)
        asked = questions(server)
        committed = _questions(run_dir, f"{QUESTIONS} WHERE answer IS NOT NULL")
        under_way = _questions(run_dir, f"{QUESTIONS} JOIN attempts ON call = number WHERE state = 'intent'")
        again = forked(work, config, run_dir, None)
        again.join(60)
        assert again.exitcode == 0, points
        asked_again = questions(server) - asked
    sql = f"{QUESTIONS} JOIN attempts ON call = number WHERE kind = 'interrupted_unknown'"
    unknown = _questions(run_dir, sql)
    return Killed(points[-1], died, committed, under_way, asked, asked_again, unknown, outputs(run_dir))


def _teacher(name: str, server: FaultServer) -> dict[str, Any]:
    return {"teacher": {"http": {"url": server.url}}} if name == "http" else {}


def _slowly(body: dict[str, Any]) -> str:
    # One question is answered so late that others are committed while it is under way, however busy the machine is.
    time.sleep(0.2 if "Name 0 " in json.dumps(body["messages"]) else 0.01)
    return http_answer(body)


def _until(process: BaseProcess, point: Point, server: FaultServer) -> bool:
    """Wait for the death, or bring it; whether the run had not ended before."""
    if not point.place:
        deadline = time.monotonic() + 30
        while not server.received and process.is_alive():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(point.seconds)
        process.kill()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), (point, process.exitcode)
    return process.exitcode != 0


def _questions(run_dir: Path, sql: str) -> frozenset[str]:
    """The questions of some requests in a ledger; none when there is no ledger yet."""
    path = run_dir / "ledger.sqlite"
    if not path.is_file():
        return frozenset()
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        try:
            found = with_questions(db).execute(sql).fetchall()
        except sqlite3.OperationalError:  # killed while it was made
            return frozenset()
    return frozenset(json.dumps(json.loads(text)["messages"], sort_keys=True) for (text,) in found)
