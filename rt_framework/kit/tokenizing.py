"""Use of a tokenizer of transformers: the ids that it puts before every text, and its chat template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rt_framework.errors import Unscorable
from rt_framework.kit.messages import message_of
from rt_framework.model import Turn

# Some templates show the current date, and a score must not depend on it. The newline is not rendered, because chat
# templates drop the newline after a block.
_FIXED_DATE = "{% macro strftime_now(style) %}26 Jul 2024{% endmacro %}\n"


def leading_ids(tokenizer: Any) -> tuple[int, ...]:
    """Return the ids that the tokenizer puts before every text: a BOS token, or nothing.

    The ids of a probe text without special tokens are looked up in its ids with special tokens, and the ids before them
    are the leading ones. Ids that some tokenizers append (EOS) are never used, because a text that goes on has no end.
    """
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    starts = (at for at in range(len(full)) if full[at : at + len(bare)] == bare)
    return tuple(full[: next(starts, 0)])


def template_message(turn: Turn) -> dict[str, Any]:
    """Return a turn as chat templates read it."""
    message = message_of(turn, parsed=True)
    # Templates of different models know the reasoning of an answer by different names.
    return {**message, "thinking": turn.reasoning} if turn.reasoning else message


def render(tokenizer: Any, turns: Sequence[Turn], tools: Sequence[str] = (), answering: bool = True) -> str:
    """Return messages as text, by the chat template.

    Args:
        tokenizer: the tokenizer with the template.
        turns: the messages.
        tools: JSON schema of each tool that the messages may call.
        answering: True for a text that ends where the assistant's answer begins.

    Raises:
        Unscorable: ``no_template``: there is no chat template; ``template_error``: it refuses these messages.
    """
    if not tokenizer.chat_template:
        raise Unscorable("no_template", "the tokenizer has no chat template")
    messages = [template_message(turn) for turn in turns]
    try:
        # As a batch of one conversation, since an empty conversation by itself is not read as a conversation.
        texts = tokenizer.apply_chat_template(
            [messages],
            tools=[json.loads(tool) for tool in tools] or None,
            chat_template=_FIXED_DATE + tokenizer.get_chat_template(tools=list(tools) or None),
            add_generation_prompt=answering,
            tokenize=False,
        )
    except Exception as error:
        raise Unscorable("template_error", f"the chat template refuses the messages: {error}") from error
    return str(texts[0])
