"""Strict parsing of a teacher's answer: either all parts, each once and nothing else, or no answer at all.

For questions that show a sample between :mod:`rt_framework.kit.fences`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from rt_framework.kit.fences import END
from rt_framework.model import Reply, Unparsed

_ENDED_BADLY = {
    "length": Unparsed("truncated", "the answer was cut off by the token limit"),
    "content_filter": Unparsed("refused", "the provider's content filter stopped the answer"),
    "too_long": Unparsed("too_long", "the request does not fit the teacher's context window"),
}


_UNSEEN = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf", "Cs"))


class MalformedError(Exception):
    """An answer that does not have the requested form."""


def lacking(reply: Reply) -> Unparsed | None:
    """Return the reason why a reply holds no complete answer: cut off, stopped or empty; ``None`` if it holds one."""
    if reply.finish_reason in _ENDED_BADLY:
        return _ENDED_BADLY[reply.finish_reason]
    return None if visible(reply.text) else Unparsed("empty", "the answer is empty")


def json_parts(text: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the values of an answer that is one JSON object with exactly these keys.

    Raises:
        MalformedError: the answer is anything else.
    """
    try:
        value = json.loads(text.strip(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise MalformedError("the answer is not one JSON object and nothing else") from error
    if not isinstance(value, dict) or set(value) != set(names):
        raise MalformedError(f"the answer is not a JSON object of exactly {', '.join(names)}")
    return value


def marked_parts(text: str, names: Sequence[str], token: str) -> dict[str, str]:
    """Return the parts of an answer, each of which follows its :func:`rt_framework.kit.fences.marker`.

    Args:
        text: the answer.
        names: its parts, in order.
        token: token of the request's fences.

    Raises:
        MalformedError: the answer has another form.
    """
    # The pattern captures the name, so the list is: text before, then name and text in turn.
    before, *rest = re.split(rf"\[\[([a-z]+) {token}\]\]", text)
    found, texts = rest[::2], rest[1::2]
    if END not in found:
        raise MalformedError("the end marker is missing")
    if found != [*names, END]:
        raise MalformedError(f"the parts are not {', '.join(names)}, each once and in this order")
    if before.strip() or texts[-1].strip():
        raise MalformedError("there is text outside the form")
    if any(token in part for part in texts):
        raise MalformedError("a part holds a fence of the request")
    return dict(zip(names, texts, strict=False))


def visible(text: str) -> bool:
    """Return whether a text has more than white space, control and format characters, and lone surrogates."""
    # A character that this Python does not know yet counts as visible, since it may be, such as an emoji of a newer
    # Unicode.
    return any(unicodedata.category(char) not in _UNSEEN for char in text)


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise MalformedError("a key of the JSON object occurs twice")
    return dict(pairs)
