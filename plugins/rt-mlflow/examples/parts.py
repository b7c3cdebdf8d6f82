"""A student and a teacher that need no model and no key, so that the example runs anywhere in a few seconds."""

from __future__ import annotations

import asyncio
import json

from rt_framework import Reply, Request, TeacherError, hookimpl
from rt_framework.hookspecs import Register
from rt_framework.testing import ScriptedTeacher


def answer(request: Request) -> str:
    """Made up from the question. One question in eight is refused, one gets an answer without any form."""
    told, kind = request.pair_hash[:8], int(request.pair_hash[:8], 16) % 8
    if kind == 0:
        raise TeacherError("refused", "content policy")
    if kind == 1:
        return "Sure! Here you go."
    parts = {
        "critique": f"Seen: {told}.",
        "instruction": f"Explain the matter of {told}.",
        "response": f"The answer to {told} is long.",
    }
    return json.dumps({name: parts[name] for name in (request.schema or {}).get("properties", parts)})


class Teacher(ScriptedTeacher):
    """Takes half a second for an answer, so that there is something to watch."""

    async def complete(self, request: Request) -> Reply:
        """Answer what is asked."""
        await asyncio.sleep(0.5)
        return await super().complete(request)


def teacher() -> Teacher:
    """The teacher of the example."""
    return Teacher(answer)


@hookimpl
def rt_register_teachers(register: Register) -> None:
    """Offer ``made-up``."""
    register("made-up", "parts:teacher", help="answers are made up")


@hookimpl
def rt_register_students(register: Register) -> None:
    """Offer ``made-up``: the loss of a word is a hash of the words before it."""
    register("made-up", "rt_framework.testing:FakeStudent", help="losses are hashes")
