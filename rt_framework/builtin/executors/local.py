"""The executor that runs the student's work in this process, on threads of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rt_framework.protocols import Student, ThreadSafeStudent

T = TypeVar("T")


class LocalExecutor:
    """Executor with one worker thread, because a model is not safe to use from two, unless the student is."""

    def __init__(self) -> None:
        self._pools = [_pool(1)]
        self._make: Callable[[], Student] | None = None
        self._student: Student | None = None
        self.workers = 1
        """Number of threads; more than one at the earliest after the first work, which makes the student."""

    def start(self, student: Callable[[], Student]) -> None:
        """Take the factory of the student; it is called at the first work."""
        self._make = student

    async def run(self, work: Callable[[Student], T]) -> T:
        """Run *work* on the next free thread."""
        loop = asyncio.get_running_loop()
        if self._student is None:
            await loop.run_in_executor(self._pools[0], self._begin)
        return await loop.run_in_executor(self._pools[-1], self._work, work)

    def close(self) -> None:
        """Wait for the work that has begun, cancel the rest, and end the threads."""
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def _begin(self) -> None:
        """Make the student, once, and as many threads as may use it."""
        if self._student is not None:
            return
        assert self._make is not None, "start() must be called before run()"
        student = self._make()
        if isinstance(student, ThreadSafeStudent) and student.threads > 1:
            # The first thread is not used any more: a pool cannot grow.
            self._pools.append(_pool(student.threads))
            self.workers = student.threads
        self._student = student

    def _work(self, work: Callable[[Student], T]) -> T:
        assert self._student is not None, "the student is made before any work"
        return work(self._student)


def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="student")
