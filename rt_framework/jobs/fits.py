"""Lengths of samples in the tokens of a student, and whether they fit its window. No model is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from attrs import frozen

from rt_framework.config import Builder, ScoringConfig
from rt_framework.errors import Unscorable
from rt_framework.model import Finding, Pair
from rt_framework.protocols import Frame, Student
from rt_framework.scoring import PresetSpans, ScoringRules
from rt_framework.spans import EncodedSpan, Span, SpanLoss

_LONGER = "give a larger scoring.max_tokens if the student reads more, or take one with a longer window"
_WAYS = {
    "no_template": "name a template in scoring.template, such as alpaca, or take a student with a chat template",
    "cut": _LONGER,
    "no_room": _LONGER,
}
"""Ways out, by the status of a score that lacks."""


@frozen
class Fit:
    """The spans of one pair before the tokenizer of a student."""

    tokens: int
    """Length of the longest one in tokens; 0 where there is none."""
    cut: bool
    """True if a target is cut at its end, because it does not fit behind its prompt."""
    lacking: str | None
    """Status that the pair's scores will have; ``None`` if both have a number."""


def frame_of(make: Builder, config: ScoringConfig) -> PresetSpans:
    """Return the frame in which the rules present a pair to a student.

    Raises:
        RtError: there is no such preset or template.
    """
    rules = ScoringRules.of(config)
    return PresetSpans(rules.preset, make.spec("templates", rules.template), rules.max_tokens)


def fit(student: Student, frame: Frame, pair: Pair) -> Fit:
    """Return how the spans of IFD and r-IFD of a pair stand before the tokenizer."""
    try:
        encoded = student.encode([*frame.response_given_instruction(pair), *frame.instruction_given_response(pair)])
    except Unscorable as error:
        return Fit(0, False, error.status)
    spans = [one for one in encoded if isinstance(one, EncodedSpan)]
    lacking = next((one.status for one in encoded if isinstance(one, SpanLoss)), None)
    return Fit(max((len(one.ids) for one in spans), default=0), any(one.cut for one in spans), lacking)


def window_fits(student: Student, max_tokens: int | None) -> Iterator[Finding]:
    """Yield a hint if the rules allow longer sequences than the student reads."""
    if max_tokens is None:
        return
    (encoded,) = student.encode([Span("", "word " * max_tokens, max_tokens=max_tokens)])
    if isinstance(encoded, EncodedSpan) and len(encoded.ids) < max_tokens:
        told = f"the student reads {len(encoded.ids):,} tokens at most, and max_tokens is {max_tokens:,}"
        yield Finding("student: max_tokens", f"{told}: longer targets are cut there", sure=False)


def rows_fit(fits: Sequence[Fit]) -> Finding:
    """Return how the first rows of a data set stand before the student's tokenizer."""
    lacking = Counter(one.lacking or "cut" for one in fits if one.lacking or one.cut)
    if not lacking:
        longest = max((one.tokens for one in fits), default=0)
        fitting = "the first row fits" if len(fits) == 1 else f"the first {len(fits)} rows fit"
        return Finding("student: rows", f"{fitting}; the longest has {longest} tokens")
    why = ", ".join(f"{count} {status}" for status, count in lacking.most_common())
    told = f"of the first {len(fits)} rows these have no whole score: {why}"
    ways = dict.fromkeys(way for status, way in _WAYS.items() if status in lacking)
    told = f"{told}: {'; '.join(ways)}" if ways else told
    return Finding("student: rows", told, lacking.total() < len(fits), sure=False)
