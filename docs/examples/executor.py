"""An executor for debugging: the student's work runs on the main thread, where a debugger stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rt_framework import hookimpl
from rt_framework.hookspecs import Register
from rt_framework.protocols import Student

T = TypeVar("T")


class InlineExecutor:
    """Runs the work on the main thread, which blocks everything else."""

    workers = 1

    def __init__(self) -> None:
        self._make: Callable[[], Student] | None = None
        self._student: Student | None = None

    def start(self, student: Callable[[], Student]) -> None:
        """Keep the factory; a run that needs no forward pass never calls it."""
        self._make = student

    async def run(self, work: Callable[[Student], T]) -> T:
        """Run the work on the calling thread."""
        if self._student is None:
            assert self._make is not None, "start() must be called before run()"
            self._student = self._make()
        return work(self._student)

    def close(self) -> None:
        """Free the student."""
        self._student = None


@hookimpl
def rt_register_executors(register: Register) -> None:
    """Offer ``inline``."""
    register("inline", "executor:InlineExecutor", help="on the main thread, for debugging")
