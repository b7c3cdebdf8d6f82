"""Runs in processes that can be killed at a chosen step, forked from one that has imported everything already."""

from __future__ import annotations

import functools
import importlib
import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework.builtin.teachers.batch_apis import azure
from rt_framework.teacher import batch_exchange, batch_state
from tests.providers import environment

KEY = "sk-canary-0123456789abcdef"


def forked(target: Callable[..., None], *args: object) -> BaseProcess:
    """A process that calls *target*, started within milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.reliability.kills", "tests.reliability.warm"])
    process = context.Process(target=target, args=args)
    process.start()
    return process


def deadly(number: int) -> Callable[[], None]:
    """Kills this process when it is called for the n-th time."""
    calls = itertools.count(1)

    def die() -> None:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return die


def arm(owner: Any, name: str, die: Callable[[], None], after: bool) -> None:
    """Call *die* before, or after, each call of a coroutine function."""
    real = getattr(owner, name)

    async def armed(*args: Any, **kwargs: Any) -> Any:
        if not after:
            die()
        result = await real(*args, **kwargs)
        if after:
            die()
        return result

    setattr(owner, name, armed)


@frozen
class Forked:
    """A command under way."""

    process: BaseProcess
    _out: Path

    def wait(self) -> tuple[int | None, str]:
        """Exit code, or the negative signal, and all output."""
        self.process.join(120)
        return self.process.exitcode, self._out.read_text()


def start(folder: Path, die: str = "") -> Forked:
    """`rt run job.yaml` in *folder*, killed at *die*: ``before rt_framework.ledger.losses LossTable.put 3``."""
    return Forked(forked(_work, folder, die), folder / "out.txt")


def _work(folder: Path, die: str) -> None:
    os.chdir(folder)
    os.environ.update(environment(KEY), RT_LOAD_PLUGINS="")
    file = os.open("out.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    batch_state._QUIET, batch_exchange._SOONEST, batch_exchange._GRACE, azure._PAUSE = 0.1, 0.1, 0.5, 0.1
    if die:
        when, module, name, number = die.split()
        *path, last = name.split(".")
        owner = functools.reduce(getattr, path, importlib.import_module(module))
        arm(owner, last, deadly(int(number)), after=when == "after")
    sys.argv = ["rt", "-p", "tests.fakes_plugin", "run", "job.yaml", "--run-dir", "run"]
    from rt_framework.cli import main

    main()
