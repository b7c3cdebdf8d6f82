"""Runs in batches that are killed at a chosen step, forked from a process that has imported everything already."""

from __future__ import annotations

import functools
import importlib
import itertools
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework import batches

KEY = "sk-canary-0123456789abcdef"


@frozen
class Forked:
    """A run under way."""

    process: Any
    _out: Path

    def wait(self) -> tuple[int, str]:
        """Exit code, or the negative signal, and all output."""
        self.process.join(120)
        return self.process.exitcode, self._out.read_text()


def start(folder: Path, die: str = "") -> Forked:
    """`rt run job.yaml` in *folder*, killed at *die*: ``before rt_framework.ledger Ledger.answered 3``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.reliability.kills", "tests.reliability.warm"])
    process = context.Process(target=_work, args=(folder, die))
    process.start()
    return Forked(process, folder / "out.txt")


def _work(folder: Path, die: str) -> None:
    os.chdir(folder)
    os.environ.update(OPENAI_API_KEY=KEY, RT_LOAD_PLUGINS="")
    file = os.open("out.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    batches._QUIET, batches._SOONEST, batches._GRACE = 0.1, 0.1, 0.5
    if die:
        _arm(die)
    sys.argv = ["rt", "-p", "tests.fakes_plugin", "run", "job.yaml", "--run-dir", "run"]
    from rt_framework.cli import main

    main()


def _arm(place: str) -> None:
    """Kill this process before or after the n-th call of a coroutine function."""
    when, module, name, number = place.split()
    *path, last = name.split(".")
    owner = functools.reduce(getattr, path, importlib.import_module(module))
    real, calls = getattr(owner, last), itertools.count(1)

    async def deadly(*args: Any, **kwargs: Any) -> Any:
        now = next(calls) == int(number)
        if now and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = await real(*args, **kwargs)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, last, deadly)
