"""A teacher and a student that need no model, so that the example runs anywhere."""

from __future__ import annotations

from rt_framework import hookimpl
from rt_framework.hookspecs import Register
from rt_framework.testing import ScriptedTeacher, rewriting


def teacher() -> ScriptedTeacher:
    """Answers every built-in reflection in the form it asks for."""
    return ScriptedTeacher(rewriting)


@hookimpl
def rt_register_teachers(register: Register) -> None:
    """Offer ``scripted``."""
    register("scripted", "parts:teacher", help="answers by rule, for examples")


@hookimpl
def rt_register_students(register: Register) -> None:
    """Offer ``fake``."""
    register("fake", "rt_framework.testing:FakeStudent", help="losses are hashes, for examples")
