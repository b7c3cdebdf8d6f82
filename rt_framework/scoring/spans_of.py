"""Construction of the spans of a pair: the only module that combines preset and template."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from attrs import evolve, frozen

from rt_framework.errors import Unscorable
from rt_framework.kit.turns import turns
from rt_framework.model import Pair, Turn
from rt_framework.protocols import Template
from rt_framework.scoring.presets import Preset
from rt_framework.spans import Context, Span, messages
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
        """Return spans of the response y after the instruction x, one span per trained assistant turn."""
        return [_within(pair, turn, self._of_response(turn, self._given)) for turn in _scorable(pair)]

    def response_alone(self, pair: Pair) -> Sequence[Span]:
        """Return spans of the response y after nothing or after the header, as the preset says."""
        return [self._of_response(turn, self._alone) for turn in _scorable(pair)]

    def instruction_given_response(self, pair: Pair) -> Sequence[Span]:
        """Return spans of the instruction x after g(y), the template's reverse prompt with the response y."""
        return [self._given(self.template.reverse(turn), turn.question) for turn in _scorable(pair)]

    def instruction_alone(self, pair: Pair) -> Sequence[Span]:
        """Return spans of the instruction x after nothing or after the header, as the preset says."""
        return [self._alone(self.template.reverse(turn), turn.question) for turn in _scorable(pair)]

    def response_length(self, pair: Pair) -> Sequence[Span]:
        """Return spans of the response y of which only the tokens are counted, without a forward pass."""
        return [self._of_response(turn, self._counted) for turn in _scorable(pair)]

    def _of_response(self, turn: Pair, make: Callable[[Context, str | Turn], Span]) -> Span:
        """Return a span of the response of a turn.

        After messages a turn with reasoning or calls of tools is rendered by the chat template, and of the former the
        answer alone counts. A text template shows the response as it is.
        """
        prompt = self.template.prompt(turn)
        if isinstance(prompt, str) or not (turn.last.thoughts or turn.tool_calls):
            return make(prompt, turn.response)
        return evolve(make(prompt, turn.last), part="answer" if turn.last.thoughts else "whole")

    def _given(self, context: Context, target: str | Turn) -> Span:
        # With `text` the conditional pass is simply truncated at the maximum length, as published.
        paired_context = self._direct() if self.preset.join == "ids" else None
        return self._span(context, target, paired_context)

    def _alone(self, context: Context, target: str | Turn) -> Span:
        # Preset `cherry` truncates both passes to the same length and reserves no room for the other pass's context.
        reserves = self.preset.join == "ids" or self.preset.direct == "bare"
        return self._span(self._direct(), target, context if reserves else None)

    def _counted(self, context: Context, target: str | Turn) -> Span:
        # A text is counted alone; a turn has no text before a template has rendered it after its messages.
        before = context if isinstance(target, Turn) else ""
        return Span(before, target, join="ids", max_tokens=self.max_tokens, count_only=True)

    def _direct(self) -> Context:
        return self.template.header() if self.preset.direct == "header" else ""

    def _span(self, context: Context, target: str | Turn, paired_context: Context | None) -> Span:
        return Span(context, target, self.preset.join, paired_context, self.max_tokens)


def _within(pair: Pair, turn: Pair, span: Span) -> Span:
    """Return the span of a turn with the conversation in which it is trained, if messages follow it there."""
    if turn is pair or isinstance(span.context, str):
        return span
    return evolve(span, within=messages((*pair.before, pair.last), pair.tools))


def _scorable(pair: Pair) -> Iterator[Pair]:
    """Yield each trained turn of the pair, as :func:`rt_framework.kit.turns.turns` gives it.

    Raises:
        Unscorable: a turn has no question, or neither an answer besides its reasoning nor a call of a tool.
    """
    for turn in turns(pair):
        for part, text in (("instruction", turn.question), ("response", turn.answer)):
            if not visible(text) and not (part == "response" and turn.tool_calls):
                which = "" if turn is pair else " of an earlier turn"
                aside = ", reasoning aside" if part == "response" and visible(turn.last.thoughts) else ""
                raise Unscorable("empty", f"the {part}{which} is empty{aside}")
        yield turn
