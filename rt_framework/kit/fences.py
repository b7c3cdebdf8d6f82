"""Fences: what keeps a sample's text apart from the request to a teacher around it.

Each fence holds a token derived from the pair, so that a request can be repeated exactly, and chosen
so that it does not occur in the pair: no sample can close its own fence or fake an answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count

from rt_framework.model import Pair, digest

FENCE = re.compile(r"(?:<<<|\[\[)[a-z]+ [0-9a-f]{8}(?:>>>|\]\])")
"""Any fence or marker, whatever its token."""
END = "end"


def token_of(pair: Pair) -> str:
    """Eight hexadecimal digits that do not occur in the pair's text."""
    turns = (text for turn in pair.history for text in (turn.role, turn.content))
    text = "\n".join((pair.instruction, pair.input, pair.response, pair.system or "", *turns))
    content = pair.hash
    return next(token for n in count() if (token := digest([content, n])[:8]) not in text)


def fenced(label: str, token: str, text: str) -> str:
    """A text of the sample, as data."""
    return f"<<<{label} {token}>>>\n{text}\n<<<{END} {token}>>>"


def marker(part: str, token: str) -> str:
    """The line before a part of an answer; the one called ``end`` is the last line."""
    return f"[[{part} {token}]]"


def earlier(pair: Pair, token: str) -> list[str]:
    """What was said before the pair's instruction, system prompt first, each turn as data."""
    turns = [("system", pair.system)] if pair.system is not None else []
    turns += [(turn.role, turn.content) for turn in pair.history]
    return [fenced(role, token, content) for role, content in turns]


def json_form(parts: Mapping[str, str]) -> str:
    """The keys of a JSON answer with what each of them means, a line each."""
    return "\n".join(f'"{name}": {meaning}' for name, meaning in parts.items())


def marker_form(parts: Mapping[str, str], token: str) -> str:
    """The form of an answer in parts: behind each marker what belongs there, in angle brackets."""
    shown = [f"{marker(name, token)}\n<{meaning}>" for name, meaning in parts.items()]
    return "\n".join([*shown, marker(END, token)])
