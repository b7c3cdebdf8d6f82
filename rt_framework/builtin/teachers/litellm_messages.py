"""The arguments that litellm gets, and the reading of its answers, the parts of which may be of any type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from attrs import evolve

from rt_framework.kit.messages import message_of
from rt_framework.model import Request, Turn

_THOUGHT, _THOUGHT_ENDS = "<think>", "</think>"
"""Tags around reasoning, which most open models write."""

_WORTH_CACHING = 4096
"""Characters of a system prompt from which on it is marked: Claude caches nothing below 1,024 tokens."""


def attributes_of(answer: Any) -> dict[str, Any]:
    """Return the token counts as litellm understood them."""
    usage = getattr(answer, "usage", None)
    return {name: getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}


def tier_of(answer: Any) -> str | None:
    """Return the service tier in which the provider says that it answered."""
    tier = getattr(answer, "service_tier", None)
    return tier if isinstance(tier, str) and tier != "default" else None


def _parted(content: str) -> tuple[str, str]:
    """Return the reasoning at the beginning of a text and the answer behind it, as servers give both in one."""
    begun = content.lstrip()
    if not begun.startswith(_THOUGHT):
        return "", content
    reasoning, _, text = begun.removeprefix(_THOUGHT).partition(_THOUGHT_ENDS)
    return reasoning.strip(), text.lstrip()


def model_of(answer: Any) -> str:
    """Return the name of the model that answered."""
    return answer.model if isinstance(answer.model, str) else ""


def text_of(answer: Any) -> tuple[str, str, str | None]:
    """Return text, finish reason and the reasoning before the text, ``None`` where the provider gives none.

    A refusal, which OpenAI puts beside the text, counts as a content filter's.

    Raises:
        TypeError: the content is not a string.
    """
    if not answer.choices:
        return "", "stop", None
    choice = answer.choices[0]
    message = choice.message
    finish = choice.finish_reason if isinstance(choice.finish_reason, str) and choice.finish_reason else "stop"
    given = getattr(message, "reasoning_content", None)
    apart: str = given.strip() if isinstance(given, str) else ""
    if message.content:
        if not isinstance(message.content, str):
            raise TypeError(f"the text of the answer has the type {type(message.content).__name__}")
        # litellm takes reasoning out of most texts, and leaves the line breaks behind it.
        reasoning, text = (apart, message.content.lstrip()) if apart else _parted(message.content)
        return text, finish, reasoning or None
    refusal = (getattr(message, "provider_specific_fields", None) or {}).get("refusal")
    text, finish = (refusal, "content_filter") if isinstance(refusal, str) and refusal else ("", finish)
    return text, finish, apart or None


def held_to_schema(request: Request) -> dict[str, Any]:
    """Return the argument that holds an answer to the JSON schema of its request."""
    name = re.sub(r"[^A-Za-z0-9_-]", "_", request.reflection)[:64]
    schema = {"name": name, "schema": request.schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def messages_to(turns: Sequence[Turn], model: str) -> list[dict[str, Any]]:
    """Return turns as messages to a provider. Reasoning stays out: providers take none from elsewhere.

    A long system prompt, which all requests of a reflection begin with, is marked for the cache of models that cache
    only what is marked. The others cache what they have seen before without a mark.
    """
    messages = [_message(turn) for turn in turns]
    first = messages[0] if messages else {}
    if "claude" in model.lower() and first.get("role") == "system" and len(first["content"]) >= _WORTH_CACHING:
        first["content"] = [{"type": "text", "text": first["content"], "cache_control": {"type": "ephemeral"}}]
    return messages


def _message(turn: Turn) -> dict[str, Any]:
    calls = tuple(evolve(call, arguments=_sendable(call.arguments)) for call in turn.tool_calls)
    return message_of(evolve(turn, content=_sendable(turn.content), reasoning=None, tool_calls=calls))


def _sendable(text: str) -> str:
    """Return the text with question marks for lone surrogates, which have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")
