"""Messages of a conversation as rows hold them: in the words of OpenAI and transformers, or in those of ShareGPT."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from rt_framework.data.values import kind_of
from rt_framework.errors import DataError
from rt_framework.kit.messages import message_of
from rt_framework.model import ToolCall, Turn

_ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "function_call": "assistant",
}
"""Role of a turn by the word for it; data sets mix the words of several origins."""

_CALLS = "function_call"
"""ShareGPT's role of a turn whose text is the JSON of a call, or of a list of calls."""

_REASONING = ("reasoning_content", "reasoning", "thinking")
"""Keys of a message under which its reasoning stands."""

_DESCRIBING = frozenset({*_REASONING, "annotations", "audio", "logprobs", "reasoning_details", "refusal", "token_ids"})
"""Keys of a message that describe its text, and go when the text goes."""

_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})

MARKS = ("train", "weight", "loss_weight", "loss_mask", "trainable", "training")
"""Keys by which trainers mark whether a message is trained."""


@frozen
class Dialect:
    """Spelling of a conversation in one shape: its column, and the keys and roles of the messages that are written."""

    field: str
    role: str
    content: str
    roles: Mapping[str, str]
    """The shape's word for each role of :class:`Turn`."""
    typed: bool
    """True if messages have keys for reasoning and calls of tools."""


MESSAGES = Dialect("messages", "role", "content", {role: role for role in sorted(set(_ROLES.values()))}, typed=True)
SHAREGPT = Dialect(
    "conversations",
    "from",
    "value",
    {"system": "system", "developer": "system", "user": "human", "assistant": "gpt", "tool": "observation"},
    typed=False,
)


# --- reading ----------------------------------------------------------------------------------


def read_message(message: object, place: str) -> Turn:
    """Return the turn of a message, in any spelling that is known.

    Args:
        message: the message.
        place: says where it stands, for an error.

    Raises:
        DataError: it has an unknown role, or a value that holds no text.
    """
    if not isinstance(message, Mapping):
        raise DataError(f"{place} is {kind_of(message)}, not an object; each turn is {{role: …, content: …}}")
    role_key, content_key = _keys(message)
    word = message.get(role_key)
    role = _ROLES.get(word) if isinstance(word, str) else None
    if role is None:
        raise DataError(f"{place} has {role_key} {word!r}; known: {', '.join(_ROLES)}; convert or remove the record")
    text, thoughts = _content(message.get(content_key), f"{place}: {content_key}")
    if word == _CALLS:
        return Turn(role, "", tool_calls=tuple(_calls_in(text, place)))
    apart = next((value for key in _REASONING if isinstance(value := message.get(key), str) and value), None)
    called = message.get("tool_calls") or ([call] if (call := message.get("function_call")) else [])
    if not isinstance(called, Sequence) or isinstance(called, str):
        raise DataError(f"{place} has {kind_of(called)} as tool_calls, not a list; correct or remove the record")
    return Turn(
        role,
        text,
        reasoning=apart or thoughts or None,
        tool_calls=tuple(_call(call, place) for call in called),
        tool_call_id=_text_or_none(message, "tool_call_id"),
        name=_text_or_none(message, "name") if role == "tool" else None,
    )


def mark_of(message: object, place: str) -> bool | None:
    """Return whether a message is marked as trained; ``None`` without a mark.

    Raises:
        DataError: the mark is neither yes nor no. A weight between 0 and 1 is refused, since a score has no weights.
    """
    if not isinstance(message, Mapping):
        return None
    marks = {key: message[key] for key in MARKS if message.get(key) is not None}
    for key, value in marks.items():
        if value not in (0, 1):
            raise DataError(f"{place} has {key} {value!r}; a turn counts or it does not: write true or false")
    if len({bool(value) for value in marks.values()}) > 1:
        raise DataError(f"{place} has marks that contradict each other: {marks}; keep one of them")
    return next((bool(value) for value in marks.values()), None)


def _keys(message: Mapping[str, Any]) -> tuple[str, str]:
    """Return the keys of role and text."""
    dialect = SHAREGPT if "from" in message or "role" not in message else MESSAGES
    return dialect.role, dialect.content


def _content(content: object, place: str) -> tuple[str, str]:
    """Return a message's text, and the reasoning that stands among its parts."""
    if content is None or isinstance(content, str):
        return content or "", ""
    if not isinstance(content, Sequence):
        raise DataError(f"{place} is {kind_of(content)}, not text; convert or remove the record")
    texts, thoughts = list[str](), list[str]()
    for part in content:
        kind = "text" if isinstance(part, str) else part.get("type") if isinstance(part, Mapping) else None
        text = part if isinstance(part, str) else part.get(kind) or part.get("text") if kind else None
        if kind in _TEXT_PARTS and isinstance(text, str):
            texts.append(text)
        elif kind in _REASONING and isinstance(text, str):
            thoughts.append(text)
        else:
            what = f"a part of type {kind!r}" if kind else kind_of(part)
            raise DataError(f"{place} holds {what}, which is no text; convert or remove the record")
    return "".join(texts), "\n".join(thoughts)


def _text_or_none(message: Mapping[str, Any], key: str) -> str | None:
    value = message.get(key)
    return None if value is None else str(value)


def _calls_in(text: str, place: str) -> Iterator[ToolCall]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is no JSON of a call: {error}; correct or remove the record") from None
    for call in value if isinstance(value, list) else [value]:
        yield _call(call, place)


def _call(call: object, place: str) -> ToolCall:
    inner = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise DataError(f"{place} has a call of a tool without a name; correct or remove the record")
    arguments = inner.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    id_ = call.get("id") if isinstance(call, Mapping) else None
    return ToolCall(inner["name"], text, None if id_ is None else str(id_))


# --- writing ----------------------------------------------------------------------------------


def same_turn(turn: Turn, other: Turn) -> bool:
    """Return whether two turns say the same, whichever of them is trained."""
    return evolve(turn, trained=False) == evolve(other, trained=False)


def updated(message: Mapping[str, Any], turn: Turn, place: str) -> Mapping[str, Any]:
    """Return a message with the text of a turn in place of its own. What describes the old text goes with it."""
    if same_turn(read_message(message, place), turn):
        return message
    kept = {key: value for key, value in message.items() if key not in _DESCRIBING}
    key = _keys(message)[1]
    parts = isinstance(message.get(key), Sequence) and not isinstance(message[key], str)
    kept[key] = [{"type": "text", "text": turn.content}] if parts else turn.content
    return kept | ({} if turn.reasoning is None else {_REASONING[0]: turn.reasoning})


def written(dialect: Dialect, turn: Turn) -> dict[str, Any]:
    """Return a turn as a new message.

    Raises:
        DataError: the dialect has no place for a part of the turn.
    """
    return message_of(turn) if dialect.typed else _sharegpt(dialect, turn)


def _sharegpt(dialect: Dialect, turn: Turn) -> dict[str, Any]:
    lost = "reasoning" if turn.reasoning else "the text beside a call of a tool" if _has_both(turn) else ""
    if lost:
        raise DataError(f"shape sharegpt has no place for {lost}; use shape messages")
    if not turn.tool_calls:
        return {dialect.role: dialect.roles[turn.role], dialect.content: turn.content}
    calls = [{"name": call.name, "arguments": call.values} for call in turn.tool_calls]
    value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
    return {dialect.role: _CALLS, dialect.content: value}


def _has_both(turn: Turn) -> bool:
    return bool(turn.tool_calls and turn.content)
