"""A student and a teacher for the tests, whose teacher does what the environment says; and events."""

from __future__ import annotations

import asyncio
import json
import os

from rt_framework import Reply, Request, TeacherError, hookimpl
from rt_framework.events import Money, Progress, SampleCounts, Shift, StudentCounts, Summary, TeacherCounts
from rt_framework.testing import ScriptedTeacher


def answer(request: Request) -> str:
    """A good rewrite; or what the environment asks for, for one pair in two."""
    fault = os.environ.get("OBSERVED_FAULT")
    if fault and int(request.pair_hash[:8], 16) % 2:
        raise TeacherError(fault, f"{fault} for {os.environ.get('ACME_API_KEY')}")
    return json.dumps({"critique": "Too short.", "response": f"The answer to {request.pair_hash[:8]} is long."})


class Teacher(ScriptedTeacher):
    """Takes its time."""

    async def complete(self, request: Request) -> Reply:
        await asyncio.sleep(float(os.environ.get("OBSERVED_DELAY", "0.15")))
        return await super().complete(request)


def teacher() -> Teacher:
    return Teacher(answer)


@hookimpl
def rt_register_teachers(register) -> None:
    register("observed", "observed_parts:teacher")


@hookimpl
def rt_register_students(register) -> None:
    register("observed", "rt_framework.testing:FakeStudent")


def progress(finished: int = 4) -> Progress:
    """Of a run of nine samples."""
    return Progress(
        samples=SampleCounts(finished, 9, {"original": 1, "dropped": 2}),
        teacher=TeacherCounts(calls=5, retries=1, answered=4, tokens=100),
        money=Money(paid=7, spent=2_000_000_000),
        student=StudentCounts(50, 3, 2),
        seconds=1.5,
    )


def summary() -> Summary:
    """With a reason that could break a table."""
    shifts = (Shift("r-ifd", 0.5, 0.25, 3),)
    return Summary(9, {"original": 9}, {"original": 9}, {"a | b\nc": 2}, {}, 0, shifts, progress())
