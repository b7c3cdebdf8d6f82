"""A template: question and answer with plain labels."""

from __future__ import annotations

from rt_framework import Pair, Unscorable, hookimpl
from rt_framework.hookspecs import Register


class Labels:
    """Plain labels before question and answer."""

    def prompt(self, pair: Pair) -> str:
        """Return everything before the response."""
        if pair.history:
            raise Unscorable("conversation", "template 'labels' shows one turn only")
        system = f"{pair.system}\n\n" if pair.system else ""
        question = f"{pair.instruction}\n{pair.input}" if pair.input else pair.instruction
        return f"{system}Question: {question}\nAnswer: "

    def reverse(self, pair: Pair) -> str:
        """Return g(y), which shows the response and asks for its instruction."""
        return f"Question: Which question does this text answer?\n{pair.response}\nAnswer: "

    def header(self) -> str:
        """Return the text before a response with the instruction taken out."""
        return "Answer: "


@hookimpl
def rt_register_templates(register: Register) -> None:
    """Offer ``labels``."""
    register("labels", "template:Labels", help="question and answer with plain labels")
