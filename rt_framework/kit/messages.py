"""Turns as messages in the keys of the OpenAI API, which files, chat templates and providers share."""

from __future__ import annotations

from typing import Any

from rt_framework.model import Turn


def message_of(turn: Turn, parsed: bool = False) -> dict[str, Any]:
    """Return a turn as a message, without the keys that it has no value for.

    Args:
        turn: the turn.
        parsed: True for arguments of calls as objects, as chat templates read them; else they are JSON text, as files
            and providers have them.
    """
    message: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.reasoning is not None:
        message["reasoning_content"] = turn.reasoning
    if turn.tool_calls:
        message["tool_calls"] = [
            {
                **({} if call.id is None else {"id": call.id}),
                "type": "function",
                "function": {"name": call.name, "arguments": call.values if parsed else call.arguments},
            }
            for call in turn.tool_calls
        ]
    named = {"tool_call_id": turn.tool_call_id, "name": turn.name}
    return message | {key: value for key, value in named.items() if value is not None}
