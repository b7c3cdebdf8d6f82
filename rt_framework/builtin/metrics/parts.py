"""Parts of a response that a metric scores: its answer, its reasoning, or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from attrs import evolve

from rt_framework.errors import Unscorable
from rt_framework.model import Turn
from rt_framework.spans import Span


def part_of(spans: Sequence[Span], part: Literal["answer", "reasoning", "whole"]) -> Sequence[Span]:
    """Return the spans of a response, with that part of each turn as the target.

    The frame gives the answer of each turn. Turns without reasoning have the same answer and whole.

    Raises:
        Unscorable: the reasoning is asked for, and no turn has any.
    """
    if part == "answer":
        return spans
    if part == "whole":
        return [evolve(span, part="whole") if isinstance(span.target, Turn) else span for span in spans]
    thinking = [span for span in spans if isinstance(span.target, Turn) and span.target.thoughts]
    if not thinking:
        raise Unscorable("empty", "there is no reasoning apart from the answer")
    return [evolve(span, part="reasoning") for span in thinking]
