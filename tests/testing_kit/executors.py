"""A good executor and broken ones."""

from __future__ import annotations

import threading

from rt_framework.errors import RtError
from rt_framework.testing.contracts import ExecutorContract
from tests.testing_kit.making import good, mutant


@good(ExecutorContract)
class Inline:
    workers = 1

    def __init__(self):
        self._make = self._student = None

    def start(self, student):
        self._make = student

    async def run(self, work):
        if self._student is None:
            self._student = self._make()
        return work(self._student)

    def close(self):
        self._student = None


@mutant(ExecutorContract, "test_workers_are_counted")
class NoWorkers(Inline):
    workers = 0


@mutant(ExecutorContract, "test_results_are_those_of_the_work")
class Rounding(Inline):
    calls = 0

    async def run(self, work):
        found = await super().run(work)
        self.calls += 1
        # Once is right; asked for again it is not.
        return found[:-1] if isinstance(found, list) and self.calls == 2 and self.errors == 0 else found

    errors = 0


@mutant(ExecutorContract, "test_many_pieces_each_have_their_own_result")
class Confused(Inline):
    last = None

    async def run(self, work):
        found = await super().run(work)
        if isinstance(found, str):
            found, self.last = self.last or found, found
        return found


@mutant(ExecutorContract, "test_errors_come_through")
class Wrapping(Inline):
    async def run(self, work):
        try:
            return await super().run(work)
        except Exception as error:
            raise RtError(f"on the worker: {error}") from error


@mutant(ExecutorContract, "test_it_works_after_an_error")
class Fragile(Inline):
    broken = False

    async def run(self, work):
        if self.broken and work.__name__ == "_losses":
            raise RtError("the worker is gone")
        try:
            return await super().run(work)
        except Exception:
            self.broken = True
            raise


@mutant(ExecutorContract, "test_the_student_is_made_for_work_only")
class Eager(Inline):
    def start(self, student):
        self._make = student
        self._student = student()


@mutant(ExecutorContract, "test_closing_is_safe")
class Sudden(Inline):
    started = False

    def start(self, student):
        super().start(student)
        self.started = True

    def close(self):
        if not self.started:
            raise RuntimeError("not started")


@mutant(ExecutorContract, "test_close_frees_the_worker")
class Lingering(Inline):
    async def run(self, work):
        # A thread that ends by itself only after the check has lost its patience.
        if getattr(work, "__name__", "") == "_losses":
            threading.Timer(3, lambda: None).start()
        return await super().run(work)
