"""Check of which parts of conversations a student's chat template shows, by leaving one part out at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from attrs import evolve, frozen

from rt_framework.errors import Unscorable
from rt_framework.model import Finding, Pair, Turn
from rt_framework.protocols import Frame, Student, TurnStudent
from rt_framework.spans import EncodedSpan, Messages, Span, messages

_CHOOSE = "If that matters, choose a student whose chat template shows this part"


@frozen
class Part:
    """A part of conversations that a chat template may leave out."""

    name: str
    without: Callable[[Span], Span]
    """Function that returns a span without the part; the same span if it has none."""
    meaning: str
    """What follows if the template leaves the part out."""
    usual: bool = False
    """True if many templates leave the part out on purpose."""


@frozen
class Shown:
    """Number of samples that have a part, and number of those in which the student sees it."""

    having: int
    seen: int


def shown_parts(student: Student, frame: Frame, pairs: Iterable[Pair]) -> dict[str, Shown]:
    """Return which parts of conversations the student sees, by the part's name; parts that no pair has are left out.

    A part is seen in a sample if the last answer, together with everything before it, has other tokens without the
    part. Texts that no chat template renders have no parts.
    """
    having, seen = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
    for span in _answers(frame, pairs) if isinstance(student, TurnStudent) else ():
        (whole,) = student.encode([span])
        for name, part in PARTS.items():
            other = part.without(span)
            if isinstance(whole, EncodedSpan) and other != span:
                having[name] += 1
                seen[name] += _ids(student.encode([other])[0]) != whole.ids
    return {name: Shown(count, seen[name]) for name, count in having.items() if count}


def part_findings(shown: Mapping[str, Shown]) -> Iterator[Finding]:
    """Yield a finding for each part of conversations that the data has."""
    for name, counts in shown.items():
        part, hidden = PARTS[name], counts.having - counts.seen
        if not hidden:
            yield Finding(name, f"the chat template shows this part in each of the {counts.having:,} samples with it")
        else:
            told = f"the chat template leaves this part out in {hidden:,} of the {counts.having:,} samples with it"
            yield Finding(name, f"{told}: {part.meaning}", sure=part.usual)


def _ids(encoded: Any) -> tuple[int, ...]:
    return encoded.ids if isinstance(encoded, EncodedSpan) else ()


def _answers(frame: Frame, pairs: Iterable[Pair]) -> Iterator[Span]:
    """Yield the last answer of each pair after everything before it, whole and of any length."""
    for pair in pairs:
        try:
            span = frame.response_given_instruction(pair)[-1]
        except Unscorable:
            continue
        if not isinstance(span.context, str):
            yield Span(span.context, span.target, "ids", count_only=True)


def _no_tools(span: Span) -> Span:
    return evolve(span, context=span.context.turns) if isinstance(span.context, Messages) else span


def _each(change: Callable[[Turn], Turn]) -> Callable[[Span], Span]:
    """Return the function that changes each turn before the answer."""

    def without(span: Span) -> Span:
        if isinstance(span.context, str):
            return span
        turns, tools = (
            (span.context.turns, span.context.tools) if isinstance(span.context, Messages) else (span.context, ())
        )
        return evolve(span, context=messages(tuple(map(change, turns)), tools))

    return without


def _own_reasoning_gone(span: Span) -> Span:
    return evolve(span, target=_unthinking(span.target)) if isinstance(span.target, Turn) else span


def _unthinking(turn: Turn) -> Turn:
    return evolve(turn, reasoning=None, content=turn.content[len(turn.lead) :])


def _result_gone(turn: Turn) -> Turn:
    return evolve(turn, content="") if turn.role == "tool" else turn


PARTS = {
    part.name: part
    for part in (
        Part(
            "schemas of tools",
            _no_tools,
            f"the student is scored, and will be trained, without knowing which tools there are. {_CHOOSE}",
        ),
        Part(
            "earlier calls",
            _each(lambda turn: evolve(turn, tool_calls=())),
            f"the student sees results of tools without the calls that led to them. {_CHOOSE}",
        ),
        Part(
            "results of tools",
            _each(_result_gone),
            f"the student sees answers without the facts that they rest on. {_CHOOSE}",
        ),
        Part(
            "reasoning",
            _own_reasoning_gone,
            f"the reasoning before an answer is neither scored nor trained. {_CHOOSE}",
        ),
        Part(
            "earlier reasoning",
            _each(_unthinking),
            "many templates do so on purpose. Earlier answers are then trained without their reasoning, or as samples "
            "of their own with data.unroll (--unroll)",
            usual=True,
        ),
    )
}
"""The parts that are looked for, by name."""
