"""Conversations: a list of turns in one column, in the spelling of OpenAI messages or of ShareGPT."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import evolve

from rt_framework.data.messages import Dialect, mark_of, read_message, updated, written
from rt_framework.data.values import Names, RawRow, like, list_of, text_of
from rt_framework.errors import DataError
from rt_framework.model import Pair, Turn


def read_turns(dialect: Dialect, row: RawRow, names: Names, trained: str) -> Pair:
    """Return the pair of a row that holds a conversation: its last answer, with the turns around it.

    Args:
        dialect: the shape's spelling.
        row: the row.
        names: the column of each field.
        trained: ``last``, ``all`` or ``marked``: the assistant turns that a student is trained on.

    Raises:
        DataError: there is no answer, or none after a user turn; or a message holds other values.
    """
    messages = list_of(row, names[dialect.field])
    turns = _turns(dialect, messages)
    if trained == "marked":
        marks = [mark_of(message, _place(dialect, number)) for number, message in enumerate(messages, 1)]
        turns = [
            evolve(turn, trained=turn.role == "assistant" and mark is not False)
            for turn, mark in zip(turns, marks, strict=True)
        ]
    apart = text_of(row, names["system"]) if "system" in names else ""
    if apart and turns and turns[0].role == "system":
        raise DataError(f"both column '{names['system']}' and the first turn are a system prompt; remove one")
    pair = _pair([Turn("system", apart), *turns] if apart else turns, dialect)
    if trained == "marked":
        pair = evolve(pair, trained=any(turn.trained for turn in turns))
    return evolve(trained_by(pair, trained), tools=read_tools(row, names))


def trained_by(pair: Pair, trained: str) -> Pair:
    """Return the pair with the turns that a rule says are trained; with ``marked`` those are marked already."""
    if trained != "all":
        return pair
    return evolve(pair, history=_all_trained(pair.history), since=_all_trained(pair.since))


def _all_trained(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    return tuple(evolve(turn, trained=turn.role == "assistant") for turn in turns)


def _turns(dialect: Dialect, messages: Sequence[Any]) -> list[Turn]:
    return [read_message(message, _place(dialect, number)) for number, message in enumerate(messages, 1)]


def _place(dialect: Dialect, number: int) -> str:
    return f"turn {number} of '{dialect.field}'"


def _pair(turns: Sequence[Turn], dialect: Dialect) -> Pair:
    """Return the pair of the last trained answer, or of the last answer where no turn is marked as trained."""
    answers = [place for place, turn in enumerate(turns) if turn.role == "assistant"]
    marked = [place for place in answers if turns[place].trained]
    if not answers:
        raise DataError(f"'{dialect.field}' has no assistant turn; correct or remove the record")
    last = (marked or answers)[-1]
    asked = max((place for place in range(last) if turns[place].role == "user"), default=None)
    if asked is None:
        raise DataError(f"'{dialect.field}' has no user turn before its last assistant turn; correct or remove it")
    system = turns[0].content if turns[0].role == "system" else None
    answer = turns[last]
    return Pair(
        turns[asked].content,
        response=answer.content,
        system=system,
        history=tuple(turns[0 if system is None else 1 : asked]),
        since=tuple(turns[asked + 1 : last]),
        reasoning=answer.reasoning,
        tool_calls=answer.tool_calls,
        after=tuple(turns[last + 1 :]),
    )


# --- tools ------------------------------------------------------------------------------------


def read_tools(row: RawRow, names: Names) -> tuple[str, ...]:
    """Return the JSON schema of each tool of a row, as text.

    Raises:
        DataError: the column holds other values.
    """
    column = names.get("tools")
    return () if column is None else tuple(map(_tool, list_of(row, column)))


def _tool(tool: object) -> str:
    return tool if isinstance(tool, str) else json.dumps(tool, ensure_ascii=False)


# --- writing ----------------------------------------------------------------------------------


def write_turns(dialect: Dialect, pair: Pair, row: RawRow, names: Names) -> dict[str, Any]:
    """Return the columns of a row that must change so that its conversation holds the pair."""
    changed: dict[str, Any] = {}
    apart = "system" in names and bool(text_of(row, names["system"]))
    if apart and pair.system != text_of(row, names["system"]):
        changed[names["system"]] = pair.system or ""
    before = pair.earlier if apart else pair.before
    column, tools = names[dialect.field], names.get("tools")
    old = list_of(row, column)
    new = _merged(dialect, old, (*before, pair.last, *pair.after))
    if new != old:
        changed[column] = like(row.get(column), new)
    if tools is not None and pair.tools != read_tools(row, names):
        value = [json.loads(tool) for tool in pair.tools]
        changed[tools] = value if dialect.typed else json.dumps(value, ensure_ascii=False)
    return changed


def _merged(dialect: Dialect, old: Sequence[Any], turns: Sequence[Turn]) -> list[Any]:
    """Return the turns as messages. If the roles agree, the old messages are updated, as they may hold other keys."""
    if [turn.role for turn in _turns(dialect, old)] != [turn.role for turn in turns]:
        return [written(dialect, turn) for turn in turns]
    numbered = enumerate(zip(old, turns, strict=True), 1)
    return [updated(message, turn, _place(dialect, number)) for number, (message, turn) in numbered]


# --- a sample of each turn --------------------------------------------------------------------


def unroll_turns(dialect: Dialect, row: RawRow, names: Names, trained: str) -> Iterator[RawRow]:
    """Yield a row for each answer of a conversation, which ends with it: each trained answer, if turns are marked.

    Raises:
        DataError: as :func:`read_turns`, or no answer is trained.
    """
    column, trained_answers = names[dialect.field], 0
    messages = list_of(row, column)
    for end, (message, turn) in enumerate(zip(messages, _turns(dialect, messages), strict=True), 1):
        marked = trained != "marked" or mark_of(message, _place(dialect, end)) is not False
        if turn.role == "assistant" and marked:
            trained_answers += 1
            yield {**row, column: like(row.get(column), list(messages[:end]))}
    if not trained_answers:
        raise DataError(f"'{dialect.field}' has no assistant turn that is trained; correct or remove the record")
