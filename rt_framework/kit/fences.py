"""Fences: lines that separate a sample's text from the request to a teacher around it.

Each fence holds a token that is derived from the pair, so that a request can be repeated exactly, and that does not
occur in the pair, so that no sample can close its own fence or fake an answer.
"""

from __future__ import annotations

import re
from itertools import count

from rt_framework.model import Pair, Turn, digest

FENCE = re.compile(r"(?:<<<|\[\[)[a-z]+ [0-9a-f]{8}(?:>>>|\]\])")
"""Pattern of any fence or marker, with any token."""
END = "end"


def token_of(pair: Pair) -> str:
    """Return eight hexadecimal digits that do not occur in the pair's text."""
    turns = [text for turn in (*pair.history, *pair.since) for text in (turn.role, turn_text(turn))]
    text = "\n".join((pair.instruction, pair.input, turn_text(pair.last), pair.system or "", *turns))
    for number in count():
        token = digest([pair.hash, number])[:8]
        if token not in text:
            break
    return token


def fenced(label: str, token: str, text: str) -> str:
    """Return a text of the sample between fences, which mark it as data."""
    return f"<<<{label} {token}>>>\n{text}\n<<<{END} {token}>>>"


def marker(part: str, token: str) -> str:
    """Return the line that precedes a part of an answer; the marker called ``end`` is the answer's last line."""
    return f"[[{part} {token}]]"


def earlier(pair: Pair, token: str) -> list[str]:
    """Return the texts before the pair's instruction, each between fences: system prompt first, then the turns."""
    turns = [("system", pair.system)] if pair.system is not None else []
    turns += [(turn.role, turn_text(turn)) for turn in pair.history]
    return [fenced(role, token, content) for role, content in turns]


def fenced_turn(turn: Turn, token: str) -> str:
    """Return a turn between fences that bear its role."""
    return fenced(turn.role, token, turn_text(turn))


def turn_text(turn: Turn) -> str:
    """Return what a reader is shown of a turn: its text, and its calls of tools as JSON."""
    texts = [call.text for call in turn.tool_calls]
    return "\n".join([turn.content, *texts] if turn.content or not texts else texts)


def fenced_question(pair: Pair, token: str) -> list[str]:
    """Return the pair's instruction, its input if it has one, and the turns up to its response, each between fences.

    An answer can only be judged by a reader who sees what the tools have said before it.
    """
    given = [fenced("input", token, pair.input)] if pair.input else []
    since = (fenced_turn(turn, token) for turn in pair.since)
    return [fenced("instruction", token, pair.instruction), *given, *since]


def fenced_response(pair: Pair, token: str, label: str = "response") -> str:
    """Return the pair's response between fences, with its calls of tools."""
    return fenced(label, token, turn_text(pair.last))
