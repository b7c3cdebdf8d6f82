"""Guards: checks that reject rewrites of the right form that must not become training data.

Each guard is a conservative test of the text alone. A trait that the original has already is not held against its
rewrite.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from attrs import frozen

from rt_framework.builtin.reflections.scripts import drift
from rt_framework.kit.fences import FENCE
from rt_framework.kit.refusals import refuses
from rt_framework.kit.words import words
from rt_framework.model import Pair, Unparsed

_SENTENCE_END = re.compile(r"(?<=[.:?;])\s+|\n")
_TELLING = 40
"""Least length in characters of a sentence that is recognised as ours; a shorter one may occur by coincidence."""

_LONG_QUESTION = 8
"""Least number of words of an instruction whose repetition counts; a shorter one may be the natural first words."""


@frozen
class Proposal:
    """A parsed answer, with the pair that it is to replace."""

    old: Pair
    new: Pair
    texts: tuple[str, ...]
    """Texts of the parts that were rewritten."""
    token: str
    """Token of the request's fences."""
    prompt: tuple[str, ...]
    """The request's own words, without any sample's text."""

    @property
    def before(self) -> str:
        """All text of the old pair."""
        return "\n".join((self.old.instruction, self.old.input, self.old.response))


def objection(rewrite: Proposal) -> Unparsed | None:
    """Return the objection of the first guard that has one against a rewrite; ``None`` if no guard has."""
    return next((reason for guard in _GUARDS if (reason := guard(rewrite))), None)


def _leak(rewrite: Proposal) -> Unparsed | None:
    for text in rewrite.texts:
        fences = (match.group() for match in FENCE.finditer(text))
        if rewrite.token in text or any(fence not in rewrite.before for fence in fences):
            return Unparsed("format", "a delimiter line of the request appears in the text")
    return None


def _unchanged(rewrite: Proposal) -> Unparsed | None:
    old, new = rewrite.old, rewrite.new
    same = _squeezed(f"{new.instruction} {new.input}") in {
        _squeezed(old.instruction),
        _squeezed(f"{old.instruction} {old.input}"),
    }
    if same and _squeezed(new.response) == _squeezed(old.response):
        return Unparsed("format", "echo of the example: nothing was rewritten")
    return None


def _echo(rewrite: Proposal) -> Unparsed | None:
    # No sentence has a line break, so none is found across two of the texts.
    after = "\n".join(map(_squeezed, rewrite.texts))
    echoed = [sentence for sentence in _sentences(rewrite.prompt) if sentence in after]
    if not echoed:
        return None
    before = _squeezed(rewrite.before)
    return Unparsed("format", "echo of the prompt") if any(one not in before for one in echoed) else None


def _restated(rewrite: Proposal) -> Unparsed | None:
    if _begins_with_question(rewrite.new) and not _begins_with_question(rewrite.old):
        return Unparsed("format", "the new response begins by repeating its whole instruction")
    return None


def _begins_with_question(pair: Pair) -> bool:
    question = words(pair.instruction)
    return len(question) >= _LONG_QUESTION and words(pair.response, len(question)) == question


def _refusal(rewrite: Proposal) -> Unparsed | None:
    if refuses(rewrite.new.response) and not refuses(rewrite.old.response):
        return Unparsed("refused", "the new response is a refusal")
    return None


def _cut_off(rewrite: Proposal) -> Unparsed | None:
    if _ends_in_code(rewrite.new.response) and not _ends_in_code(rewrite.old.response):
        return Unparsed("truncated", "the new response ends inside a code block")
    return None


def _drift(rewrite: Proposal) -> Unparsed | None:
    scripts = drift(rewrite.before, "\n".join(rewrite.texts))
    if scripts:
        return Unparsed("format", f"language drift: the text went from {scripts[0]} to {scripts[1]} script")
    return None


_GUARDS: tuple[Callable[[Proposal], Unparsed | None], ...] = (
    _leak,
    _unchanged,
    _echo,
    _restated,
    _refusal,
    _cut_off,
    _drift,
)


def _squeezed(text: str) -> str:
    """Return the text with every run of white space replaced by one space."""
    return " ".join(text.split())


@lru_cache(maxsize=16)
def _sentences(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the sentences that are long enough to be recognised. Cached, as prompts are few and answers many."""
    parts = (_squeezed(part) for text in texts for part in _SENTENCE_END.split(text))
    return tuple(part for part in parts if len(part) >= _TELLING)


def _ends_in_code(text: str) -> bool:
    """Return whether a Markdown code block is still open at the end of a text."""
    opened = 0
    for fence in re.finditer(r"^[ \t]*(`{3,})([^`\n]*)$", text, re.MULTILINE):
        ticks, info = len(fence[1]), fence[2].strip()
        if not opened:
            opened = ticks
        elif ticks >= opened and not info:
            opened = 0
    return bool(opened)
