"""The strict reading of a teacher's answer: all parts, each once, and nothing else, or no answer at all."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence

from rt_framework.builtin.reflections.fences import END
from rt_framework.builtin.reflections.guards import refuses
from rt_framework.builtin.reflections.prompts import Task
from rt_framework.model import Reply, Unparsed

_ENDED_BADLY = {
    "length": Unparsed("truncated", "the answer was cut off by the token limit"),
    "content_filter": Unparsed("refused", "the provider's content filter stopped the answer"),
    "too_long": Unparsed("too_long", "the request does not fit the teacher's context window"),
}
_PLACEHOLDER_WORDS = re.compile(r"<[a-z]+(?: [a-z]+)+>|<(?:critique|instruction|response|answer)>", re.IGNORECASE)


class _MalformedError(Exception):
    """The answer does not have the form asked for."""


def read(task: Task, reply: Reply, token: str, structured: bool) -> dict[str, str] | Unparsed:
    """Every part of the answer, without the white space around it, or why there is none.

    Args:
        task: what was asked.
        reply: the raw answer.
        token: that of the request's fences.
        structured: whether JSON was asked for; else text with markers.
    """
    if reply.finish_reason in _ENDED_BADLY:
        return _ENDED_BADLY[reply.finish_reason]
    if not _visible(reply.text):
        return Unparsed("empty", "the answer is empty")
    try:
        names = tuple(task.parts)
        parts = _read_json(reply.text, names) if structured else _read_markers(reply.text, names, token)
        return {name: _checked(name, parts[name], task) for name in names}
    except _MalformedError as error:
        if refuses(reply.text):
            return Unparsed("refused", "the teacher refused instead of answering in the form")
        return Unparsed("format", str(error))


def _read_json(text: str, names: Sequence[str]) -> dict[str, str]:
    try:
        value = json.loads(text.strip(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _MalformedError("the answer is not one JSON object and nothing else") from error
    if not isinstance(value, dict) or set(value) != set(names):
        raise _MalformedError(f"the answer is not a JSON object of exactly {', '.join(names)}")
    if not all(isinstance(part, str) for part in value.values()):
        raise _MalformedError("a value of the JSON object is not a string")
    return value


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise _MalformedError("a key of the JSON object occurs twice")
    return dict(pairs)


def _read_markers(text: str, names: Sequence[str], token: str) -> dict[str, str]:
    # Split at a captured name: text before, then name and text by turns.
    before, *rest = re.split(rf"\[\[([a-z]+) {token}\]\]", text)
    found, texts = rest[::2], rest[1::2]
    if END not in found:
        raise _MalformedError("the end marker is missing")
    if found != [*names, END]:
        raise _MalformedError(f"the parts are not {', '.join(names)}, each once and in this order")
    if before.strip() or texts[-1].strip():
        raise _MalformedError("there is text outside the form")
    if any(token in part for part in texts):
        raise _MalformedError("a part holds a fence of the request")
    return dict(zip(names, texts, strict=False))


def _checked(name: str, text: str, task: Task) -> str:
    text = text.strip()
    if not _visible(text):
        raise _MalformedError(f"{name} is blank")
    if text.strip("<>") in task.parts.values() or _PLACEHOLDER_WORDS.fullmatch(text):
        raise _MalformedError(f"{name} is a placeholder")
    return text


def _visible(text: str) -> bool:
    """Whether there is anything but white space, control and format characters."""
    return any(unicodedata.category(char)[0] not in "ZC" for char in text)
