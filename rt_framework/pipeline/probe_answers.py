"""Answers that a teacher might give to a request, made up from its schema, to see what a question asks after them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rt_framework.kit.fences import END, marker, token_of
from rt_framework.model import Pair, Reply, Request

_PLAIN = "Blue, white and red."
_BY_TYPE: Mapping[str, Any] = {"number": 1, "integer": 1, "boolean": True, "array": [], "object": {}, "null": None}


def probe_answer(pair: Pair, request: Request, schema: Mapping[str, Any] | None) -> Reply:
    """Return an answer to a request, in the form that the request asks for as far as this can be known.

    Args:
        pair: the pair that the request is about.
        request: the request. With a schema the answer is JSON, else it has the parts of a form between markers.
        schema: schema of the same question where the teacher follows one; ``None`` for a question without one, to
            which the answer is plain text.
    """
    parts = schema.get("properties") if schema is not None else None
    if not isinstance(parts, Mapping) or not parts:
        return Reply(_PLAIN)
    values = {str(name): _value(part) for name, part in parts.items()}
    if request.schema is not None:
        return Reply(json.dumps(values))
    token = token_of(pair)
    marked = (f"{marker(name, token)}\n{value}" for name, value in values.items())
    return Reply("\n".join([*marked, marker(END, token)]))


def _value(part: object) -> Any:
    """Return a value of one part: the first that its schema lists, else one of its type, else a text."""
    if not isinstance(part, Mapping):
        return _PLAIN
    listed, kind = part.get("enum"), part.get("type")
    if isinstance(listed, list | tuple) and listed:
        return listed[0]
    return _BY_TYPE.get(kind, _PLAIN) if isinstance(kind, str) else _PLAIN
