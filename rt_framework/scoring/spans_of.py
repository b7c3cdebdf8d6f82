"""Construction of the spans of a pair: the only module that combines preset and template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from rt_framework.errors import Unscorable
from rt_framework.model import Pair
from rt_framework.protocols import Template
from rt_framework.scoring.presets import Preset
from rt_framework.spans import Context, Span, turns
from rt_framework.text import visible


@frozen
class PresetSpans:
    """The :class:`rt_framework.protocols.Frame` of one run, made of a preset, a template and a maximum length.

    A pair without a question or without an answer has no spans at all. One side of it could still be scored, but the
    number would say nothing: an instruction is about as likely after no response as after any.
    """

    preset: Preset
    template: Template
    max_tokens: int | None

    def response_given_instruction(self, pair: Pair) -> Sequence[Span]:
        """Return spans of the response y after the instruction x, one span per assistant turn."""
        return [self._given(self.template.prompt(turn), turn.response) for turn in _scorable(pair)]

    def response_alone(self, pair: Pair) -> Sequence[Span]:
        """Return spans of the response y after nothing or after the header, as the preset says."""
        return [self._alone(self.template.prompt(turn), turn.response) for turn in _scorable(pair)]

    def instruction_given_response(self, pair: Pair) -> Sequence[Span]:
        """Return spans of the instruction x after g(y), the template's reverse prompt with the response y."""
        return [self._given(self.template.reverse(turn), turn.question) for turn in _scorable(pair)]

    def instruction_alone(self, pair: Pair) -> Sequence[Span]:
        """Return spans of the instruction x after nothing or after the header, as the preset says."""
        return [self._alone(self.template.reverse(turn), turn.question) for turn in _scorable(pair)]

    def response_length(self, pair: Pair) -> Sequence[Span]:
        """Return spans of the response y of which only the tokens are counted, without a forward pass."""
        return [
            Span("", turn.response, join="ids", max_tokens=self.max_tokens, count_only=True) for turn in _scorable(pair)
        ]

    def _given(self, context: Context, target: str) -> Span:
        # With `text` the conditional pass is simply truncated at the maximum length, as published.
        paired_context = self._direct() if self.preset.join == "ids" else None
        return self._span(context, target, paired_context)

    def _alone(self, context: Context, target: str) -> Span:
        # Preset `cherry` truncates both passes to the same length and reserves no room for the other pass's context.
        reserves = self.preset.join == "ids" or self.preset.direct == "bare"
        return self._span(self._direct(), target, context if reserves else None)

    def _direct(self) -> Context:
        return self.template.header() if self.preset.direct == "header" else ""

    def _span(self, context: Context, target: str, paired_context: Context | None) -> Span:
        return Span(context, target, self.preset.join, paired_context, self.max_tokens)


def _scorable(pair: Pair) -> Iterator[Pair]:
    """Yield each assistant turn of the pair, as :func:`rt_framework.spans.turns` gives it.

    Raises:
        Unscorable: a turn has no question, or no answer besides its reasoning trace.
    """
    for turn in turns(pair):
        for part, text in (("instruction", turn.question), ("response", turn.answer)):
            if not visible(text):
                which = "" if turn is pair else " of an earlier turn"
                aside = ", reasoning aside" if part == "response" and visible(turn.response) else ""
                raise Unscorable("empty", f"the {part}{which} is empty{aside}")
        yield turn
