"""Texts of turns as a chat template renders them: a student encodes the text, and never the turn itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache

from attrs import evolve

from rt_framework.errors import Unscorable
from rt_framework.model import Turn
from rt_framework.spans import Context, Messages, Span

Render = Callable[[Sequence[Turn], Sequence[str], bool], str]
"""Function that returns messages as text: of turns, the JSON schemas of their tools, and whether the text ends where an
answer of the assistant begins, or behind the last turn. It may raise ``Unscorable``."""

_RENDERINGS = 4096
"""Number of renderings that are remembered, since the turns of one conversation share them."""

_ANSWER = "text-of-the-answer"
"""Text in place of an answer, to find out what a template writes before and after one."""


class TurnTexts:
    """Renderer of messages and of the turns that follow them.

    Args:
        render: renders messages by the chat template of the model.
    """

    def __init__(self, render: Render) -> None:
        self._own_render = render
        self._render = lru_cache(_RENDERINGS)(render)

    def __reduce__(self) -> tuple[type[TurnTexts], tuple[Render]]:
        """Return what makes the same renderer in another process, to which what it remembers need not go."""
        return TurnTexts, (self._own_render,)

    def context(self, context: Context) -> str:
        """Return a context as text, up to where the assistant's answer begins.

        Raises:
            Unscorable: the template refuses the messages.
        """
        return context if isinstance(context, str) else self._render(*_messages(context), True)

    def as_text(self, span: Span) -> Span:
        """Return the span with its target as text, if that is a turn, after checking that training sees this text.

        Raises:
            Unscorable: ``template_error``: the template does not render the turn, or not as the answer to its context;
                ``rendered_otherwise``: it renders the turn otherwise in the whole conversation, or in the other pass;
                ``empty``: the turn has no part of that name.
        """
        if isinstance(span.target, Turn):
            turn, text = span.target, self._written(span.context, span.target)
            if span.paired_context is not None and self._written(span.paired_context, turn) != text:
                raise Unscorable(
                    "rendered_otherwise", "the chat template renders the turn otherwise without its context"
                )
            scored = None if span.part == "whole" else (self._range(span.context, turn, text, span.part),)
            span = evolve(span, target=text, part="whole", scored=scored)
        elif span.within is None and not isinstance(span.context, str) and self._leads:
            span = self._led(span, span.target)
        self._check_within(span)
        return span

    @cached_property
    def _leads(self) -> bool:
        """True if the template writes something before an answer without reasoning, such as an empty thought."""
        try:
            return bool(self._around((Turn("user", ""),), Turn("assistant", ""))[0])
        except Unscorable:
            return False

    def _led(self, span: Span, target: str) -> Span:
        """Return the span with what the template writes before an answer read before its target, as training has it."""
        lead, _ = self._around(span.context, Turn("assistant", ""))
        ranges = span.scored or ((0, len(target)),)
        shifted = tuple((start + len(lead), end + len(lead)) for start, end in ranges)
        return evolve(span, target=lead + target, scored=shifted) if lead and target else span

    def _written(self, context: Context, turn: Turn) -> str:
        """Return the text of a turn after its context, without what the template writes behind a turn's text."""
        _, ending = self._around(context, turn)
        text = self._following(context, turn).removesuffix(ending)
        if not all(call.name in text for call in turn.tool_calls):
            raise Unscorable("template_error", "the chat template does not show the calls of tools")
        return text

    def _around(self, context: Context, turn: Turn) -> tuple[str, str]:
        """Return what the template writes before the answer of a turn, its reasoning included, and behind the turn."""
        other = Turn("assistant", turn.lead + _ANSWER, turn.reasoning)
        lead, found, ending = self._following(context, other).rpartition(_ANSWER)
        if not found:
            raise Unscorable("template_error", "the chat template does not show the text of an answer")
        return lead, ending

    def _following(self, context: Context, turn: Turn) -> str:
        """Return what the template writes after a context that the turn follows."""
        turns, tools = _messages(context)
        before, whole = self.context(context), self._render((*turns, turn), tools, False)
        if not whole.startswith(before):
            raise Unscorable(
                "template_error", "the chat template does not render the turn as the answer to its context"
            )
        return whole[len(before) :]

    def _range(self, context: Context, turn: Turn, text: str, part: str) -> tuple[int, int]:
        """Return the characters of a part of a turn's text."""
        lead, _ = self._around(context, turn)
        if part == "reasoning":
            thoughts = turn.thoughts.strip()
            start = text.find(thoughts) if thoughts else -1
            if start < 0:
                raise Unscorable(
                    "empty", "the chat template shows no reasoning" if thoughts else "there is no reasoning"
                )
            return start, start + len(thoughts)
        if not text.startswith(lead):
            raise Unscorable("template_error", "the chat template shows the reasoning otherwise beside calls of tools")
        if len(text) == len(lead):
            raise Unscorable("empty", "there is no answer besides the reasoning")
        return len(lead), len(text)

    def _check_within(self, span: Span) -> None:
        if span.within is None:
            return
        before, whole = self.context(span.context), self._render(*_messages(span.within), False)
        # A template may remove white space around a text, which is no other text.
        rest = whole[len(before) :]
        if not whole.startswith(before) or not rest.lstrip().startswith(str(span.target).strip()):
            raise Unscorable(
                "rendered_otherwise",
                "the chat template renders the turn otherwise within its conversation, such as without its reasoning: "
                "train the last turn of each conversation alone, or make a sample of each turn (unroll)",
            )


def _messages(context: Context) -> tuple[tuple[Turn, ...], tuple[str, ...]]:
    if isinstance(context, str):
        raise ValueError("a chat template renders messages, and the context is a text")
    return (context.turns, context.tools) if isinstance(context, Messages) else (context, ())
