"""The teacher that asks a student of the run, whose model is in memory once for its answers and its losses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, cast

from rt_framework.builtin.teachers.settings import StudentTeacherSettings
from rt_framework.errors import ConfigError, PluginError
from rt_framework.model import Reply, Request
from rt_framework.protocols import (
    AsyncGeneratingStudent,
    Executor,
    GeneratingStudent,
    LocalTeacher,
    Teacher,
    answers_served,
)


class StudentAsTeacher:
    """Teacher that is a student of the run. Its batches wait for the student's forward passes, and these for them.

    Args:
        settings: which student it is, and how many requests are a batch.
    """

    def __init__(self, settings: StudentTeacherSettings) -> None:
        self._settings = settings
        self._used: GeneratingStudent | None = None
        self._executor: Executor | None = None

    @property
    def student(self) -> str:
        """Name of the student in the config; empty for the main student."""
        return self._settings.student or ""

    def use(
        self,
        student: GeneratingStudent | AsyncGeneratingStudent,
        executor: Executor | None,
        ready: Callable[[], Awaitable[None]],
    ) -> Teacher | LocalTeacher:
        """Take the student, and the executor on which it runs; return the teacher that asks it."""
        if answers_served(student):
            return ServedStudentAsTeacher(student, ready)
        self._used, self._executor = cast("GeneratingStudent", student), executor
        return self

    @property
    def identity(self) -> str:
        """Identity of the student's model: with other weights it is another teacher. Loads nothing."""
        return f"student {self._asked.fingerprint}"

    @property
    def structured(self) -> bool:
        """Return whether the student holds its answers to a JSON schema."""
        return self._asked.structured

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:  # noqa: ARG002 - as the protocol names them
        """Return 0, since the student's model costs no money."""
        return 0

    @property
    def batch_size(self) -> int:
        """Most requests that are answered at once by all workers together."""
        return self._settings.batch_size * (1 if self._executor is None else self._executor.workers)

    async def complete_many(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer a batch, in order, a part of it on each worker of the student.

        Raises:
            TeacherError: as the student.
            PluginError: the student gives fewer or more replies than it was asked for.
        """
        assert self._executor is not None, "a run gives the executor"
        size = self._settings.batch_size
        parts = [tuple(requests[first : first + size]) for first in range(0, len(requests), size)]
        replies = await asyncio.gather(*(self._executor.run(partial(_answered, part)) for part in parts))
        return [reply for part in replies for reply in part]

    @property
    def _asked(self) -> GeneratingStudent:
        if self._used is None:
            raise ConfigError("teacher 'student' asks a student of the same run, and there is none here; name a model")
        return self._used


class ServedStudentAsTeacher:
    """Teacher that is a student of the run behind a server, which answers single requests, many at once.

    Args:
        student: the student.
        ready: waits until its server is there with the weights of before.
    """

    def __init__(self, student: AsyncGeneratingStudent, ready: Callable[[], Awaitable[None]]) -> None:
        self._student = student
        self._ready = ready

    @property
    def identity(self) -> str:
        """Identity of the student: with another fingerprint it is another teacher."""
        return f"student {self._student.fingerprint}"

    @property
    def structured(self) -> bool:
        """Return whether the server holds answers to a JSON schema."""
        return self._student.structured

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:  # noqa: ARG002 - as the protocol names them
        """Return 0, since the student's server costs no money a token."""
        return 0

    async def complete(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            TeacherError: as the student.
            RtError: the server computes with other weights, or stays away.
        """
        await self._ready()
        return await self._student.answer(request)


def _answered(requests: Sequence[Request], student: Any) -> Sequence[Reply]:
    """Return the replies of a student: the work for an executor, which other processes find by its name."""
    replies: Sequence[Reply] = student.generate(requests)
    if len(replies) != len(requests):
        raise PluginError(f"the student gave {len(replies)} replies to {len(requests)} requests")
    return replies
