"""The executor that runs the student's work in several processes of this machine: one for each GPU."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cached_property
from multiprocessing.queues import Queue
from typing import TypeVar

from rt_framework.builtin.executors.settings import ProcessesSettings
from rt_framework.errors import ConfigError, PluginError, RtError
from rt_framework.protocols import Student

T = TypeVar("T")

_DEVICES = "CUDA_VISIBLE_DEVICES"
_SAFE_PATH = "PYTHONSAFEPATH"


class ProcessesExecutor:
    """Executor with a student in each of several processes, each of which sees one GPU as if it were the only one.

    Without a GPU the processes share the cores, which is seldom faster than one process.
    """

    def __init__(self, settings: ProcessesSettings) -> None:
        self._settings = settings
        self._factory = b""

    def start(self, student: Callable[[], Student]) -> None:
        """Take the factory of the student; processes start at the first work.

        Raises:
            PluginError: the student cannot be sent to another process.
        """
        try:
            self._factory = pickle.dumps(student)
        except Exception as error:
            raise PluginError(
                f"this student cannot be sent to another process ({error}); use executor: local"
            ) from error

    @cached_property
    def workers(self) -> int:
        """The number of processes."""
        return self._settings.workers or max(1, len(self._devices))

    async def run(self, work: Callable[[Student], T]) -> T:
        """Run *work* in the next free process.

        Raises:
            RtError: a process has ended; the losses that it had returned are safe.
        """
        try:
            with _without_working_directory():
                done = asyncio.get_running_loop().run_in_executor(self._pool, _work, work)
            return await done
        except BrokenProcessPool:
            raise RtError(
                "a worker process ended unexpectedly, most often because the machine ran out of memory; "
                "the losses computed so far are kept: run again with fewer workers or a smaller scoring.batch_tokens"
            ) from None

    def close(self) -> None:
        """Wait for the work that has begun, cancel the rest, and end the processes."""
        if "_pool" in vars(self):
            self._pool.shutdown(cancel_futures=True)

    @cached_property
    def _devices(self) -> list[str]:
        """Names of the visible GPUs, as ``CUDA_VISIBLE_DEVICES`` takes them."""
        import torch

        named = os.environ.get(_DEVICES)
        count = torch.cuda.device_count()
        return named.split(",")[:count] if named else [str(number) for number in range(count)]

    @cached_property
    def _pool(self) -> ProcessPoolExecutor:
        if len(self._devices) and self.workers > len(self._devices):
            raise ConfigError(f"executor processes: {self.workers} workers, but {len(self._devices)} GPUs are visible")
        # A forked process cannot use CUDA.
        context = multiprocessing.get_context("spawn")
        devices: Queue[str] = context.Queue()
        for number in range(self.workers):
            devices.put(self._devices[number] if self._devices else "")
        cores = max(1, (os.cpu_count() or 1) // self.workers)
        return ProcessPoolExecutor(self.workers, context, _begin, (self._factory, devices, cores))


@contextmanager
def _without_working_directory() -> Iterator[None]:
    """Keep processes that start within the block from importing anything from the working directory.

    Each begins as ``python -c``, which puts that directory first on the import path: a ``socket.py`` in it would run
    before the process receives the import path of this one.
    """
    before = os.environ.get(_SAFE_PATH)
    os.environ[_SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


_student: Student | None = None
"""The student of a worker process."""


def _begin(factory: bytes, devices: Queue[str], cores: int) -> None:
    """Set the variables that torch reads when it is imported, then take the student, which has loaded nothing yet."""
    global _student
    os.environ[_DEVICES] = devices.get()
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _student = pickle.loads(factory)()  # noqa: S301 - from the process that started this one


def _end_with_parent() -> None:
    """End this process when its parent ends; the process of a killed parent would hold its GPU for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(work: Callable[[Student], T]) -> T:
    assert _student is not None, "every worker process is started with a student"
    return work(_student)
