"""The protocol of templates."""

from __future__ import annotations

from typing import Protocol

from rt_framework.model import Pair
from rt_framework.spans import Context


class Template(Protocol):
    """The text, or the messages, around a pair in a prompt."""

    def prompt(self, pair: Pair) -> Context:
        """Return everything before the response.

        Raises:
            Unscorable: the template has no form for this pair.
        """

    def reverse(self, pair: Pair) -> Context:
        """Return g(y): a prompt that shows the response and asks for its instruction."""

    def header(self) -> Context:
        """Return the text before a response with the instruction taken out."""
