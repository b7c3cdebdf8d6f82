"""Use of a tokenizer of transformers: the ids that it puts before every text, and its chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rt_framework.errors import Unscorable
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


def render(tokenizer: Any, turns: Sequence[Turn]) -> str:
    """Return messages as text, by the chat template, up to the place where the assistant's answer begins.

    Raises:
        Unscorable: ``no_template``: there is no chat template; ``template_error``: it refuses these messages.
    """
    if not tokenizer.chat_template:
        raise Unscorable("no_template", "the tokenizer has no chat template")
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    try:
        # As a batch of one conversation, since an empty conversation by itself is not read as a conversation.
        texts = tokenizer.apply_chat_template(
            [messages],
            chat_template=_FIXED_DATE + tokenizer.get_chat_template(),
            add_generation_prompt=True,
            tokenize=False,
        )
    except Exception as error:
        raise Unscorable("template_error", f"the chat template refuses the messages: {error}") from error
    return str(texts[0])
