"""The executor that runs the student's work in this process, on one thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rt_framework.protocols import Student

T = TypeVar("T")


class LocalExecutor:
    """Executor with one worker thread, because a model is not safe to use from two."""

    workers = 1

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="student")
        self._make: Callable[[], Student] | None = None
        self._student: Student | None = None

    def start(self, student: Callable[[], Student]) -> None:
        """Take the factory of the student; it is called at the first work."""
        self._make = student

    async def run(self, work: Callable[[Student], T]) -> T:
        """Run *work* on the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, work)

    def close(self) -> None:
        """Wait for the work that has begun, cancel the rest, and end the thread."""
        self._pool.shutdown(cancel_futures=True)

    def _work(self, work: Callable[[Student], T]) -> T:
        if self._student is None:
            assert self._make is not None, "start() must be called before run()"
            self._student = self._make()
        return work(self._student)
