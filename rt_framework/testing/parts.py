"""A plugin with a student and a teacher that need no model: ``rt -p rt_framework.testing.parts``.

If environment variables say so, they kill their process at a chosen step: the tests of stages check how a run goes on
after that.
"""

from __future__ import annotations

import os
import signal

from rt_framework import hookimpl
from rt_framework.events import SampleFinished
from rt_framework.hookspecs import Register
from rt_framework.model import Request
from rt_framework.testing.fakes import ScriptedTeacher, rewriting

KILL_AT_CALL, KILL_AT_END = "RT_TESTING_KILL_AT_CALL", "RT_TESTING_KILL_AT_END"
"""Environment variables: number of the teacher call, and of the finished sample, at which the process is killed."""


class Deadly:
    """A reporter that kills its process at the n-th finished sample, if the environment says so."""

    def __init__(self) -> None:
        self._ends = 0

    @hookimpl
    def rt_sample_finished(self, event: SampleFinished) -> None:  # noqa: ARG002 - the hook's signature
        """Count the finished samples, and kill the process at the chosen one."""
        self._ends += 1
        _perhaps_die(KILL_AT_END, self._ends)


def teacher() -> ScriptedTeacher:
    """Return a teacher that answers every built-in reflection in the form that the reflection asks for."""
    teachers: list[ScriptedTeacher] = []

    def answer(request: Request) -> str:
        _perhaps_die(KILL_AT_CALL, len(teachers[0].requests))
        return rewriting(request)

    teachers.append(ScriptedTeacher(answer))
    return teachers[0]


def _perhaps_die(variable: str, count: int) -> None:
    if os.environ.get(variable) == str(count):
        os.kill(os.getpid(), signal.SIGKILL)


@hookimpl
def rt_register_teachers(register: Register) -> None:
    """Register the teacher ``scripted``."""
    register("scripted", "rt_framework.testing.parts:teacher", help="answers by rule, for tests")


@hookimpl
def rt_register_students(register: Register) -> None:
    """Register the student ``fake``."""
    register("fake", "rt_framework.testing:FakeStudent", help="losses are hashes, for tests")


@hookimpl
def rt_register_reporters(register: Register) -> None:
    """Register the reporter ``deadly``."""
    register("deadly", "rt_framework.testing.parts:Deadly", help="kills its process where told, for tests")
