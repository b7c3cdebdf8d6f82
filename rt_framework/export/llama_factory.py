"""Conversations as LLaMA-Factory reads them: texts of turns that alternate, with calls of tools as JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

from rt_framework.export.pack_rows import Row, Unfit, conversation, trained_turns, why, with_tools
from rt_framework.export.preferences import Preference
from rt_framework.kit.tokenizing import template_message
from rt_framework.model import Pair, Turn

_BETWEEN_RESULTS = "\n</tool_response>\n<tool_response>\n"
"""Text that LLaMA-Factory itself puts between the results of tools that follow each other."""

_SIDES = ({"user", "observation"}, {"assistant", "function_call"})
"""Roles of the turns at even and at odd places, the system prompt aside; it skips all other conversations."""

Message = dict[str, str]


def conversations(pair: Pair) -> list[Row]:
    """Return a sample as one row, of which LLaMA-Factory trains every assistant turn."""
    return [with_tools({"messages": messages(conversation(pair))}, pair)]


def last_turns(pair: Pair) -> list[Row]:
    """Return a row for each trained turn, of which it trains the last turn with ``mask_history``."""
    return [with_tools({"messages": messages((*turn.before, turn.last))}, turn) for turn in trained_turns(pair)]


def preferences(preference: Preference) -> list[Row]:
    """Return the row of a preference."""
    *prompt, chosen = messages((*preference.chosen.before, preference.chosen.last))
    rejected = messages((*preference.rejected.before, preference.rejected.last))[-1]
    row = {"messages": prompt, "chosen": chosen, "rejected": rejected, **why(preference)}
    return [with_tools(row, preference.chosen)]


def messages(turns: Sequence[Turn]) -> list[Message]:
    """Return turns as messages of a role and a text.

    Raises:
        Unfit: questions and answers do not alternate.
    """
    system = [_message("system", turn.content) for turn in turns[:1] if turn.role in ("system", "developer")]
    rest = list(_sides(turns[len(system) :]))
    if any(message["role"] not in _SIDES[place % 2] for place, message in enumerate(rest)):
        raise Unfit("whose questions and answers do not alternate")
    return system + rest


def _sides(turns: Sequence[Turn]) -> Iterator[Message]:
    for role, some in groupby(turns, key=lambda turn: turn.role):
        if role == "tool":
            yield _message("observation", _BETWEEN_RESULTS.join(turn.content for turn in some))
        elif role == "assistant":
            yield from (_message("function_call" if turn.tool_calls else role, _text(turn)) for turn in some)
        else:
            yield from (_message(role, turn.content) for turn in some)


def _text(turn: Turn) -> str:
    """Return the text of an assistant turn: reasoning, text and calls in the words of most of its templates."""
    text = (f"<think>\n{turn.reasoning}\n</think>\n\n" if turn.reasoning else "") + turn.content
    if not turn.tool_calls:
        return text
    calls = json.dumps([call["function"] for call in template_message(turn)["tool_calls"]], ensure_ascii=False)
    return f"{text}<tool_call>{calls}</tool_call>" if turn.content else text + calls


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
