"""The chat template of the student's own tokenizer, rendered by the student."""

from __future__ import annotations

from rt_framework.builtin.templates.text import guess
from rt_framework.model import Pair, Turn
from rt_framework.spans import Messages, messages


class Chat:
    """Template of messages instead of text; the student renders them and adds the assistant header."""

    def prompt(self, pair: Pair) -> tuple[Turn, ...] | Messages:
        """Return every turn before the response, with the tools that the conversation may call."""
        return messages(pair.before, pair.tools)

    def reverse(self, pair: Pair) -> tuple[Turn, ...] | Messages:
        """Return g(y) as a user turn after every turn before the instruction, in whose light it is guessed."""
        return messages((*pair.system_turns, *pair.history, Turn("user", guess(pair))), pair.tools)

    def header(self) -> tuple[Turn, ...]:
        """Return an empty user turn, so that only the constants of the chat template are rendered.

        They include its default system prompt, and the assistant header follows.
        """
        return (Turn("user", ""),)
