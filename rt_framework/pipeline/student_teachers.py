"""Teachers that ask a student of the same run: which student each of them asks, and that it can answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from rt_framework.config import Builder, NamedTeacher
from rt_framework.errors import ConfigError
from rt_framework.protocols import (
    AsyncStudent,
    Executor,
    GeneratingStudent,
    LocalTeacher,
    Student,
    StudentTeacher,
    Teacher,
    answers_served,
)


def students_asked(make: Builder, named: Mapping[str, NamedTeacher]) -> list[str]:
    """Return the names of the students that teachers ask; the empty name is the main student's."""
    teachers = (make.spec("teachers", one.part) for one in named.values())
    return [teacher.student for teacher in teachers if isinstance(teacher, StudentTeacher)]


async def _at_once() -> None:
    """Return at once, since nothing has to be waited for."""


def use(
    name: str,
    teacher: StudentTeacher,
    student: Student | AsyncStudent | None,
    executor: Executor | None = None,
    ready: Callable[[], Awaitable[None]] = _at_once,
) -> Teacher | LocalTeacher:
    """Give a teacher the student that it asks, and return the teacher that asks it.

    Args:
        name: name of the teacher; empty for the main teacher.
        teacher: the teacher.
        student: the student; ``None`` if the command has no such student.
        executor: where the student runs; ``None`` if nothing will be asked.
        ready: waits until a student's server is there with the weights of before.

    Raises:
        ConfigError: there is no such student, or it cannot answer.
    """
    whose = f"teacher '{name}'" if name else "the teacher"
    asked = f"the student '{teacher.student}'" if teacher.student else "the main student"
    if student is None:
        raise ConfigError(f"{whose} asks {asked}, and there is none here: give the student too, or another teacher")
    if not answers_served(student) and not isinstance(student, GeneratingStudent):
        raise ConfigError(
            f"{whose} asks {asked}, which can score but not answer: its plugin has no 'generate', as that of 'hf' has, "
            "and no 'answer'"
        )
    return teacher.use(student, executor, ready)
