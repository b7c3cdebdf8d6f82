"""The contract of templates."""

from __future__ import annotations

from typing import Any

from rt_framework.errors import Unscorable
from rt_framework.model import Pair, Turn
from rt_framework.testing.awkward import awkward_pairs
from rt_framework.testing.contracts.base import PluginContract, outcome

_PAIR = Pair("Instruction-canary?", "Input-canary.", "Response-canary!")
_ROLES = ("system", "user", "assistant")


class TemplateContract(PluginContract):
    """Contract of a template: the prompt text for a pair."""

    kind = "templates"

    def test_rendering_is_pure(self) -> None:
        """The same pair gives the same contexts, asked again and by another instance."""
        template, other = self.make(), self.make()
        for pair in (_PAIR, *awkward_pairs(), _PAIR):
            for part in ("prompt", "reverse"):
                contexts = [outcome(getattr(instance, part), pair) for instance in (template, template, other)]
                assert contexts[0] == contexts[1] == contexts[2], f"{part} of {pair!r:.200} differs when asked again"

    def test_contexts_are_text_or_messages(self) -> None:
        """Each context is a text, or a tuple of ``Turn``."""
        template = self.make()
        for part, context in (
            ("prompt", template.prompt(_PAIR)),
            ("reverse", template.reverse(_PAIR)),
            ("header", template.header()),
        ):
            messages = isinstance(context, tuple) and all(
                isinstance(turn, Turn) and turn.role in _ROLES for turn in context
            )
            assert isinstance(context, str) or messages, (
                f"expected {part} to be text or a tuple of Turn, with role {', '.join(_ROLES)}; found {context!r:.200}"
            )

    def test_awkward_pairs_are_shown_or_refused(self) -> None:
        """No pair makes it raise anything but ``Unscorable``."""
        template = self.make()
        for pair in awkward_pairs():
            for show in (template.prompt, template.reverse):
                try:
                    show(pair)
                except Unscorable:
                    continue
                except Exception as error:
                    raise AssertionError(
                        f"{show.__name__} raised {type(error).__name__}: {error} for {pair!r:.200}; "
                        "raise Unscorable(status, reason) where the template has no form"
                    ) from error

    def test_the_prompt_shows_instruction_and_input(self) -> None:
        """The prompt contains the instruction and the input."""
        text = _text(self.make().prompt(_PAIR))
        for part in (_PAIR.instruction, _PAIR.input):
            assert part in text, f"expected {part!r} in the prompt, found {text!r}"

    def test_the_prompt_hides_the_response(self) -> None:
        """The prompt does not contain the response, which would make every loss after it worthless."""
        text = _text(self.make().prompt(_PAIR))
        assert _PAIR.response not in text, f"the prompt shows the response: {text!r}; leave it out"

    def test_the_reverse_shows_the_response(self) -> None:
        """g(y) contains the response, whose instruction is to be guessed."""
        text = _text(self.make().reverse(_PAIR))
        assert _PAIR.response in text, f"expected {_PAIR.response!r} in the reverse prompt, found {text!r}"

    def test_the_reverse_hides_the_instruction(self) -> None:
        """g(y) does not contain the instruction that it asks for."""
        text = _text(self.make().reverse(_PAIR))
        for part in (_PAIR.instruction, _PAIR.input):
            assert part not in text, f"the reverse prompt shows {part!r}: {text!r}; leave it out"

    def test_the_header_shows_nothing_of_a_pair(self) -> None:
        """The header is the same before and after a pair was rendered, and contains no text of the pair."""
        template = self.make()
        before = _text(template.header())
        outcome(lambda: (template.prompt(_PAIR), template.reverse(_PAIR)))
        after = _text(template.header())
        assert before == after, f"the header was {before!r} and is {after!r} after a prompt; keep nothing between calls"


def _text(context: Any) -> str:
    if isinstance(context, tuple):
        return "\n".join(str(getattr(turn, "content", turn)) for turn in context)
    return str(context)
