"""The lines of a file of answers: what each has to hold, which question it answers, and the reply that it makes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import fields

from rt_framework.builtin.teachers.offsets import Key
from rt_framework.errors import DataError
from rt_framework.model import Reply, Request, Usage, stored

Row = Mapping[str, Any]
"""One line of the file."""

_KEYS = {"reflection": str, "pair": str, "index": int, "text": str}
_OPTIONAL = {
    "draw": int,
    "step": int,
    "teacher": str,
    "finish_reason": str,
    "prompt_tokens": int,
    "completion_tokens": int,
    "cached_tokens": int,
    "cache_write_tokens": int,
    "reasoning_tokens": int,
    "model": str,
    "reasoning": str,
}

_ASKED = ("messages", "sampling", "schema")
"""Columns of an exported file that hold what was sent. Two stages may ask about one pair by requests that differ."""

WANTED = f"{', '.join(_KEYS)}; 'rt answers RUN_DIR --export FILE' writes such lines"
"""What a line needs, for messages."""


def parse(line: bytes, where: str) -> Row:
    """Return one line of the file as an object, with every column checked.

    Raises:
        DataError: the line is damaged, or is no answer; names the place, *where*, and a way out.
    """
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}); correct or remove the line") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: not a JSON object; each line needs {WANTED}")
    for name, kind in (_KEYS | _OPTIONAL).items():
        if name not in row and name in _KEYS:
            raise DataError(f"{where}: '{name}' is missing; each line needs {WANTED}")
        if name in row and type(row[name]) is not kind:
            raise DataError(f"{where}: '{name}' must be {_article(kind)}, not {json.dumps(row[name])[:40]}")
    return row


def _article(kind: type) -> str:
    return "a whole number" if kind is int else "a string"


def key_of(row: Row) -> Key:
    """Return the question that a line answers."""
    return row["reflection"], row["pair"], row["index"], row.get("draw", 0), row.get("step", 0)


def asked(request: Request) -> Row:
    """Return what a request sends, as the columns of an exported file have it."""
    sent = stored(request)
    row: Row = json.loads(json.dumps({name: sent[name] for name in _ASKED}))
    return row


def alike(one: Row, other: Row) -> bool:
    """Return whether two lines may answer the same request: what both hold of it is equal."""
    return all(one[name] == other[name] for name in _ASKED if name in one and name in other)


def is_structured(row: Row) -> bool | None:
    """Return whether the answer of an exported line was held to a schema; ``None`` if the line does not say it."""
    return row["schema"] is not None if "schema" in row else None


def reply_of(row: Row) -> Reply:
    """Return the reply of a line, which costs nothing."""
    usage = Usage(*(row.get(one.name, 0) for one in fields(Usage)))
    text, finish, model = row["text"], row.get("finish_reason", "stop"), row.get("model", "")
    return Reply(text, finish, usage, model, reasoning=row.get("reasoning"))
