"""Conversations: a list of turns in one column, in the spelling of OpenAI messages or of ShareGPT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from rt_framework.data.values import Names, RawRow, kind_of, like, list_of, text_of
from rt_framework.errors import DataError
from rt_framework.model import Pair, Turn


@frozen
class Dialect:
    """Spelling of a conversation in one shape: its column, keys and names of roles."""

    field: str
    role: str
    content: str
    roles: Mapping[str, str]
    """The shape's word for each role of :class:`Turn`."""


MESSAGES = Dialect("messages", "role", "content", {"system": "system", "user": "user", "assistant": "assistant"})
SHAREGPT = Dialect("conversations", "from", "value", {"system": "system", "user": "human", "assistant": "gpt"})


def _turn(dialect: Dialect, message: object, number: int) -> Turn:
    place = f"turn {number} of '{dialect.field}'"
    if not isinstance(message, Mapping):
        form = f"{{{dialect.role}: …, {dialect.content}: …}}"
        raise DataError(f"{place} is {kind_of(message)}, not an object; each turn is {form}")
    role = next((ours for ours, theirs in dialect.roles.items() if theirs == message.get(dialect.role)), None)
    if role is None:
        known = ", ".join(dialect.roles.values())
        raise DataError(
            f"{place} has {dialect.role} {message.get(dialect.role)!r}; known: {known}; convert or remove the record"
        )
    content = message.get(dialect.content)
    if content is not None and not isinstance(content, str):
        raise DataError(f"{place} has {kind_of(content)} as {dialect.content}, not text; convert or remove the record")
    return Turn(role, content or "")


def _conversation(dialect: Dialect, turns: Sequence[Turn]) -> Pair:
    """Return the pair of a conversation: its last two turns, with the earlier turns as history."""
    system = turns[0].content if turns and turns[0].role == "system" else None
    rest = tuple(turns) if system is None else tuple(turns[1:])
    roles = [turn.role for turn in rest]
    problem = ""
    if "system" in roles:
        problem = "a system turn that is not the first turn"
    elif "assistant" not in roles:
        problem = "no assistant turn"
    elif roles[-1] != "assistant":
        problem = "user turns after the last assistant turn"
    elif roles[-2:] != ["user", "assistant"]:
        problem = "no user turn right before the last assistant turn"
    if problem:
        raise DataError(f"'{dialect.field}' has {problem}; a record ends with user, assistant: correct or remove it")
    return Pair(rest[-2].content, "", rest[-1].content, system, rest[:-2])


def read_turns(dialect: Dialect, row: RawRow, names: Names) -> Pair:
    """Return the pair of a row that holds a conversation.

    Raises:
        DataError: the conversation does not end with a user turn and an assistant turn, or holds other values.
    """
    messages = list_of(row, names[dialect.field])
    apart = text_of(row, names["system"]) if "system" in names else ""
    turns = [_turn(dialect, message, number) for number, message in enumerate(messages, 1)]
    if apart and turns and turns[0].role == "system":
        raise DataError(f"both column '{names['system']}' and the first turn are a system prompt; remove one")
    return _conversation(dialect, [Turn("system", apart), *turns] if apart else turns)


def write_turns(dialect: Dialect, pair: Pair, row: RawRow, names: Names) -> dict[str, Any]:
    """Return the columns of a row that must change so that its conversation holds the pair."""
    changed: dict[str, Any] = {}
    apart = "system" in names and bool(text_of(row, names["system"]))
    if apart and pair.system != text_of(row, names["system"]):
        changed[names["system"]] = pair.system or ""
    turns = [*pair.history, Turn("user", pair.user_turn), Turn("assistant", pair.response)]
    if pair.system is not None and not apart:
        turns.insert(0, Turn("system", pair.system))
    column = names[dialect.field]
    old = list_of(row, column)
    new = _merged(dialect, old, turns)
    return changed if new == old else {**changed, column: like(row.get(column), new)}


def _merged(dialect: Dialect, old: Sequence[Any], turns: Sequence[Turn]) -> list[Any]:
    """Return the turns as messages. If the roles agree, the old messages are updated, as they may hold other keys."""
    before = [_turn(dialect, message, number) for number, message in enumerate(old, 1)]
    if [turn.role for turn in before] != [turn.role for turn in turns]:
        return [{dialect.role: dialect.roles[turn.role], dialect.content: turn.content} for turn in turns]
    return [
        message if turn == was else {**message, dialect.content: turn.content}
        for message, was, turn in zip(old, before, turns, strict=True)
    ]
