"""The student tokenizer's own chat template, rendered by the student."""

from __future__ import annotations

from rt_framework.builtin.templates.text import guess
from rt_framework.model import Pair, Turn


class Chat:
    """Messages instead of text; the student renders them and adds the assistant header."""

    def prompt(self, pair: Pair) -> tuple[Turn, ...]:
        """System prompt and earlier turns of the record, then its instruction and input."""
        system = (Turn("system", pair.system),) if pair.system is not None else ()
        question = f"{pair.instruction}\n{pair.input}" if pair.input else pair.instruction
        return (*system, *pair.history, Turn("user", question))

    def reverse(self, pair: Pair) -> tuple[Turn, ...]:
        """g(y) as a user turn."""
        return (Turn("user", guess(pair)),)

    def header(self) -> tuple[Turn, ...]:
        """An empty user turn: what renders are the constants of the template, its default system prompt
        included, and the assistant header.
        """
        return (Turn("user", ""),)
