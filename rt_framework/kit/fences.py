"""Fences: lines that separate a sample's text from the request to a teacher around it.

Each fence holds a token that is derived from the pair, so that a request can be repeated exactly, and that does not
occur in the pair, so that no sample can close its own fence or fake an answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count

from rt_framework.model import Pair, digest

_JSON_FORM = "Answer with one JSON object and nothing else. Its keys, in this order:"
_MARKER_FORM = """\
Answer in the form below and write nothing before or after it. Copy the lines in double brackets exactly, each once; \
put your own text in place of each line in angle brackets."""
_REPAIR = "This is attempt {attempt}: an earlier answer could not be used. Keep strictly to the form."

FENCE = re.compile(r"(?:<<<|\[\[)[a-z]+ [0-9a-f]{8}(?:>>>|\]\])")
"""Pattern of any fence or marker, with any token."""
END = "end"


def token_of(pair: Pair) -> str:
    """Return eight hexadecimal digits that do not occur in the pair's text."""
    turns = (text for turn in pair.history for text in (turn.role, turn.content))
    text = "\n".join((pair.instruction, pair.input, pair.response, pair.system or "", *turns))
    content = pair.hash
    return next(token for n in count() if (token := digest([content, n])[:8]) not in text)


def fenced(label: str, token: str, text: str) -> str:
    """Return a text of the sample between fences, which mark it as data."""
    return f"<<<{label} {token}>>>\n{text}\n<<<{END} {token}>>>"


def marker(part: str, token: str) -> str:
    """Return the line that precedes a part of an answer; the marker called ``end`` is the answer's last line."""
    return f"[[{part} {token}]]"


def earlier(pair: Pair, token: str) -> list[str]:
    """Return the texts before the pair's instruction, each between fences: system prompt first, then the turns."""
    turns = [("system", pair.system)] if pair.system is not None else []
    turns += [(turn.role, turn.content) for turn in pair.history]
    return [fenced(role, token, content) for role, content in turns]


def json_form(parts: Mapping[str, str]) -> str:
    """Return the keys of a JSON answer with their meanings, one line for each key."""
    return "\n".join(f'"{name}": {meaning}' for name, meaning in parts.items())


def marker_form(parts: Mapping[str, str], token: str) -> str:
    """Return the form of an answer in parts: each marker, and below it in angle brackets the text expected there."""
    shown = [f"{marker(name, token)}\n<{meaning}>" for name, meaning in parts.items()]
    return "\n".join([*shown, marker(END, token)])


def answer_form(parts: Mapping[str, str], token: str, structured: bool) -> list[str]:
    """Return the paragraphs that ask for an answer in these parts.

    Args:
        parts: meaning of each part, by name, in order.
        token: that of the request's fences.
        structured: True for an answer that is held to a JSON schema, False for one with markers.
    """
    return [_JSON_FORM, json_form(parts)] if structured else [_MARKER_FORM, marker_form(parts, token)]


def repair_note(index: int) -> list[str]:
    """Return the paragraph that makes the *index*-th request differ from the first, whose index is 0 and has none."""
    return [_REPAIR.format(attempt=index + 1)] if index else []
