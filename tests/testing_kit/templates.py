"""A good template and broken ones."""

from __future__ import annotations

import itertools

from rt_framework import Unscorable
from rt_framework.testing.contracts import TemplateContract
from tests.testing_kit.making import good, mutant


@good(TemplateContract)
class Plain:
    def prompt(self, pair):
        if pair.history:
            raise Unscorable("conversation", "one turn only")
        return f"Q: {pair.question}\nA: "

    def reverse(self, pair):
        return f"A: {pair.response}\nQ: "

    def header(self):
        return "A: "


@mutant(TemplateContract, "test_rendering_is_pure")
class Numbered(Plain):
    calls = itertools.count()

    def prompt(self, pair):
        return f"{super().prompt(pair)}{next(self.calls)}"


@mutant(TemplateContract, "test_contexts_are_text_or_messages")
class Messages(Plain):
    def prompt(self, pair):
        return [{"role": "user", "content": super().prompt(pair)}]


@mutant(TemplateContract, "test_awkward_pairs_are_shown_or_refused")
class Encoding(Plain):
    def reverse(self, pair):
        pair.response.encode()
        return super().reverse(pair)


@mutant(TemplateContract, "test_the_prompt_shows_instruction_and_input")
class NoInput(Plain):
    def prompt(self, pair):
        return f"Q: {pair.instruction}\nA: "


@mutant(TemplateContract, "test_the_prompt_hides_the_response")
class Telling(Plain):
    def prompt(self, pair):
        return f"{super().prompt(pair)}{pair.response}"


@mutant(TemplateContract, "test_the_reverse_shows_the_response")
class Blank(Plain):
    def reverse(self, pair):
        return "Q: "


@mutant(TemplateContract, "test_the_reverse_hides_the_instruction")
class Giving(Plain):
    def reverse(self, pair):
        return f"{super().reverse(pair)}{pair.instruction}"


@mutant(TemplateContract, "test_the_header_shows_nothing_of_a_pair")
class Keeping(Plain):
    last = ""

    def prompt(self, pair):
        self.last = pair.instruction
        return super().prompt(pair)

    def header(self):
        return f"{self.last}A: "
