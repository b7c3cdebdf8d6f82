"""The contract of executors."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rt_framework.errors import ModelError, OutOfMemory, RtError
from rt_framework.protocols import Student
from rt_framework.spans import Span, SpanLoss
from rt_framework.testing.contracts.base import PluginContract
from rt_framework.testing.fakes import FakeStudent

_SPANS = [Span(f"Question {number}: ", f"An answer of {number} words or more.") for number in range(6)]


_SECONDS = 2.0
"""Seconds that processes and threads have to end after ``close``."""


class ExecutorContract(PluginContract):
    """Contract of an executor, which runs the student's work. It is sent work and student, so both can be pickled."""

    kind = "executors"

    def test_workers_are_counted(self) -> None:
        """``workers`` is a whole number from 1, at the latest after the first work."""
        with self._started() as executor:
            asyncio.run(_all(executor, _losses))
            workers = executor.workers
            assert isinstance(workers, int) and not isinstance(workers, bool) and workers >= 1, (
                f"expected a whole number of workers from 1, found {workers!r}"
            )

    def test_results_are_those_of_the_work(self) -> None:
        """Work gives the same result in a worker as in this process, every time."""
        expected = _losses(FakeStudent())
        with self._started() as executor:
            for result in asyncio.run(_all(executor, _losses, _losses)):
                assert result == expected, f"the work gives {expected!r:.200} here and {result!r:.200} there"

    def test_many_pieces_each_have_their_own_result(self) -> None:
        """Each piece of work gets its own result, also if many run at the same time."""
        works = [_First(number) for number in range(12)]
        with self._started() as executor:
            results = asyncio.run(_all(executor, *works))
            assert results == [f"{number} fake-student-1" for number in range(12)], (
                f"twelve pieces of work gave {results}"
            )

    def test_errors_come_through(self) -> None:
        """An exception of the work is raised with its own type and message: core halves a batch on ``OutOfMemory``."""
        with self._started() as executor:
            errors = asyncio.run(_all(executor, _too_large, _no_model, _own_fault))
            described = [(type(error), str(error)) for error in errors]
            assert described[0] == (OutOfMemory, "2 sequences"), f"OutOfMemory('2 sequences') arrived as {described[0]}"
            assert described[1] == (ModelError, "no such model"), (
                f"ModelError('no such model') arrived as {described[1]}"
            )
            assert isinstance(errors[2], Exception) and "odd" in described[2][1], (
                f"ValueError('odd') arrived as {described[2]}"
            )

    def test_it_works_after_an_error(self) -> None:
        """A worker still works after a piece of work has failed."""
        with self._started() as executor:
            _, result = asyncio.run(_in_turn(executor, _too_large, _losses))
            assert result == _losses(FakeStudent()), f"after an error the work gives {result!r:.200}"

    def test_the_student_is_made_for_work_only(self) -> None:
        """``start`` creates no student: a resumed run may need none, and each worker creates its own."""
        executor = self.make()
        executor.start(_never)
        executor.close()

    def test_closing_is_safe(self) -> None:
        """The executor can be closed before and after work."""
        for work in ((), (_losses,)):
            executor = self.make()
            if work:
                executor.start(FakeStudent)
                asyncio.run(_all(executor, *work))
            try:
                executor.close()
            except Exception as error:
                raise AssertionError(
                    f"close raised {type(error).__name__}: {error} {'after work' if work else 'before any work'}"
                ) from error

    def test_close_frees_the_worker(self) -> None:
        """After ``close`` no process of the executor is left, and no thread that would delay the end of the program."""
        before = set(_alive())
        with self._started() as executor:
            asyncio.run(_all(executor, _losses))
        deadline = time.monotonic() + _SECONDS
        while (left := [worker for worker in _alive() if worker not in before]) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not left, f"after close there is still {left[0]!r}; end processes and threads there, and wait for them"

    @contextmanager
    def _started(self) -> Iterator[Any]:
        executor = self.make()
        executor.start(FakeStudent)
        try:
            yield executor
        finally:
            executor.close()


def _alive() -> list[Any]:
    threads = [thread for thread in threading.enumerate() if not thread.daemon]
    return [*threads, *multiprocessing.active_children()]


class _First:
    """A piece of work whose result says which piece it is."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, student: Student) -> str:
        return f"{self.number} {student.fingerprint}"


def _losses(student: Student) -> list[SpanLoss]:
    return list(student.score([encoded for encoded in student.encode(_SPANS) if not isinstance(encoded, SpanLoss)]))


def _too_large(student: Student) -> None:  # noqa: ARG001 - work takes the student
    raise OutOfMemory("2 sequences")


def _no_model(student: Student) -> None:  # noqa: ARG001
    raise ModelError("no such model")


def _own_fault(student: Student) -> None:  # noqa: ARG001
    raise ValueError("odd")


def _never() -> Student:
    raise RtError("start() made the student; make it at the first work")


async def _all(executor: Any, *works: Callable[[Student], Any]) -> list[Any]:
    """Return the results or exceptions of all pieces of work, run at the same time."""
    return await asyncio.gather(*(executor.run(work) for work in works), return_exceptions=True)


async def _in_turn(executor: Any, *works: Callable[[Student], Any]) -> list[Any]:
    return [(await _all(executor, work))[0] for work in works]
