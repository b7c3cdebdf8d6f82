"""State of the provider batches: questions that gather, answers that are expected, batches that are submitted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from itertools import accumulate
from typing import Any

from attrs import evolve, frozen

from rt_framework.concurrency import StopSignal
from rt_framework.events import BatchChanged
from rt_framework.model import Pending, Reply, Request
from rt_framework.plugin import Reporters
from rt_framework.protocols import BatchApiTeacher
from rt_framework.text import number_of

_QUIET = 0.5
"""Seconds without a new question or a forward pass of the student, after which the run needs the batch to proceed."""


@frozen
class WaitingQuestion:
    """A question that waits to be submitted."""

    key: str
    request: Request
    reserved: int
    retry: bool


class Promises:
    """The answers that are expected from batches, by key."""

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Future[Reply]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._answers

    def make(self, key: str) -> None:
        """Expect an answer."""
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        # Reads the exception, because this run may never ask a question that an earlier run submitted.
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._answers[key] = answer

    async def kept(self, key: str) -> Reply:
        """Wait for an answer."""
        try:
            return await self._answers[key]
        finally:
            # Removed only now, so that a question that arrives while its answer is committed is not asked again.
            del self._answers[key]

    def open(self, key: str) -> bool:
        """Return whether an answer is expected and has not come."""
        return key in self._answers and not self._answers[key].done()

    def keep(self, key: str, reply: Reply) -> None:
        """Pass on an answer."""
        self._answers[key].set_result(reply)

    def fail(self, key: str, error: Exception) -> None:
        """Pass on the reason why there is no answer."""
        self._answers[key].set_exception(error)


class Gathering:
    """The questions that wait to be submitted together."""

    def __init__(self, teacher: BatchApiTeacher, stop: StopSignal, busy: Callable[[], bool]) -> None:
        self.waiting: list[WaitingQuestion] = []
        self._most_bytes = teacher.most_bytes
        self._most = teacher.most_requests
        self._in_turn = False
        self._stop = stop
        self._busy = busy
        self._task: asyncio.Task[None] | None = None

    def add(self, question: WaitingQuestion, gather: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Add a question, and start *gather* unless it is at work."""
        self.waiting.append(question)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(gather())

    async def ready(self, under_way: Iterable[asyncio.Task[None]]) -> None:
        """Wait until a batch is full, or nothing else in the run can proceed.

        Args:
            under_way: the work on earlier batches.

        Raises:
            RtError: sending was stopped meanwhile.
        """
        while self._in_turn and (tasks := set(under_way)):
            await asyncio.wait(tasks)
        seen = 0
        while (seen < len(self.waiting) or self._busy()) and len(self.waiting) < self._most:
            seen = len(self.waiting)
            await self._stop.sleep(_QUIET)
        self._stop.check()

    def fitting(self) -> Sequence[WaitingQuestion]:
        """Return as many of the waiting questions as fit in one batch, and always the first."""
        some = self.waiting[: self._most]
        sizes = accumulate(question.request.most_prompt_tokens for question in some)
        return some[: max(1, sum(size <= self._most_bytes for size in sizes))]

    def slow_down(self, refused: int) -> None:
        """Make later batches smaller than one of *refused* questions, and submit them one after the other."""
        # The provider limits the questions in all open batches together.
        self._most, self._in_turn = max(1, refused // 2), True

    async def close(self) -> None:
        """Wait until no question waits any more."""
        if self._task is not None:
            await self._task


@frozen
class _Submission:
    name: str
    questions: int
    progress: Pending | None = None

    def __str__(self) -> str:
        asked = f"waiting for the provider's batch {self.name} of {number_of(self.questions, 'question')}"
        return f"{asked}, {self.progress.done} of {self.progress.total} done" if self.progress else asked


class Submitted:
    """The batches that were submitted to the provider and not collected yet, and the events about them."""

    def __init__(self, reporters: Reporters) -> None:
        self._reporters = reporters
        self._batches: dict[str, _Submission] = {}

    @property
    def questions(self) -> int:
        """Number of questions in these batches."""
        return sum(batch.questions for batch in self._batches.values())

    def described(self) -> list[str]:
        """Return a description of each batch."""
        return [str(batch) for batch in self._batches.values()]

    def add(self, token: str, name: str, questions: int, state: str) -> None:
        """Note a batch that was ``submitted``, or ``found`` at the provider."""
        self._batches[token] = _Submission(name, questions)
        self._reporters.send("rt_batch_changed", BatchChanged(name, questions, state))

    def moved(self, token: str, progress: Pending) -> None:
        """Note how far the provider is with a batch."""
        self._batches[token] = evolve(self._batches[token], progress=progress)

    def collected(self, token: str) -> None:
        """Note that all answers of a batch are committed; nothing is reported of a batch that was never submitted."""
        batch = self._batches.pop(token, None)
        if batch is not None:
            self._reporters.send("rt_batch_changed", BatchChanged(batch.name, batch.questions, "collected"))
