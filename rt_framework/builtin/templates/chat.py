"""The chat template of the student's own tokenizer, rendered by the student."""

from __future__ import annotations

from rt_framework.builtin.templates.text import guess
from rt_framework.model import Pair, Turn
from rt_framework.spans import Messages


class Chat:
    """Template of messages instead of text; the student renders them and adds the assistant header."""

    def prompt(self, pair: Pair) -> tuple[Turn, ...] | Messages:
        """Return every turn before the response, with the tools that the conversation may call."""
        return _with_tools(pair, pair.before)

    def reverse(self, pair: Pair) -> tuple[Turn, ...] | Messages:
        """Return g(y) as a user turn after every turn before the instruction, in whose light it is guessed."""
        system = (Turn("system", pair.system),) if pair.system is not None else ()
        return _with_tools(pair, (*system, *pair.history, Turn("user", guess(pair))))

    def header(self) -> tuple[Turn, ...]:
        """Return an empty user turn, so that only the constants of the chat template are rendered.

        They include its default system prompt, and the assistant header follows.
        """
        return (Turn("user", ""),)


def _with_tools(pair: Pair, turns: tuple[Turn, ...]) -> tuple[Turn, ...] | Messages:
    return Messages(turns, pair.tools) if pair.tools else turns
