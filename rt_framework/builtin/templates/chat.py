"""The chat template of the student's own tokenizer, rendered by the student."""

from __future__ import annotations

from rt_framework.builtin.templates.text import guess
from rt_framework.model import Pair, Turn


class Chat:
    """Template of messages instead of text; the student renders them and adds the assistant header."""

    def prompt(self, pair: Pair) -> tuple[Turn, ...]:
        """Return the record's system prompt and earlier turns, then its instruction and input."""
        system = (Turn("system", pair.system),) if pair.system is not None else ()
        return (*system, *pair.history, Turn("user", pair.user_turn))

    def reverse(self, pair: Pair) -> tuple[Turn, ...]:
        """Return g(y) as a user turn."""
        return (Turn("user", guess(pair)),)

    def header(self) -> tuple[Turn, ...]:
        """Return an empty user turn, so that only the constants of the chat template are rendered.

        They include its default system prompt, and the assistant header follows.
        """
        return (Turn("user", ""),)
