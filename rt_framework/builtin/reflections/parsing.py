"""Strict parsing of a rewrite: every part has to be written out, or the answer is not used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rt_framework.builtin.reflections.prompts import Task
from rt_framework.kit.parsing import MalformedError, json_parts, lacking, marked_parts, visible
from rt_framework.kit.refusals import refuses
from rt_framework.model import Reply, Unparsed

_PLACEHOLDER_WORDS = re.compile(r"<[a-z]+(?: [a-z]+)+>|<(?:critique|instruction|response|answer)>", re.IGNORECASE)


def read(task: Task, reply: Reply, token: str, structured: bool) -> dict[str, str] | Unparsed:
    """Return every part of the answer, stripped of white space, or the reason why the answer cannot be used.

    Args:
        task: what was asked.
        reply: the raw answer.
        token: token of the request's fences.
        structured: whether JSON was asked for; else text with markers.
    """
    without = lacking(reply)
    if without is not None:
        return without
    try:
        names = tuple(task.parts)
        parts = json_parts(reply.text, names) if structured else marked_parts(reply.text, names, token)
        return {name: _checked(name, parts, task) for name in names}
    except MalformedError as error:
        if refuses(reply.text):
            return Unparsed("refused", "the teacher refused instead of answering in the form")
        return Unparsed("format", str(error))


def _checked(name: str, parts: Mapping[str, Any], task: Task) -> str:
    if not all(isinstance(part, str) for part in parts.values()):
        raise MalformedError("a value of the JSON object is not a string")
    text: str = parts[name].strip()
    if not visible(text):
        raise MalformedError(f"{name} is blank")
    if text.strip("<>") in task.parts.values() or _PLACEHOLDER_WORDS.fullmatch(text):
        raise MalformedError(f"{name} is a placeholder")
    return text
