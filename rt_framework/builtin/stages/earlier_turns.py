"""Rewriting of the trained turns before the response, each accepted by what the turns after it are worth then."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from rt_framework.builtin.reflections.turns import MOST_EARLIER_TURNS, TurnReflection
from rt_framework.kit.turns import later_turns_only
from rt_framework.model import Decision, Failure, Sample, Scored
from rt_framework.protocols import Reflection, Selector, StageContext, is_asked


class EarlierTurns:
    """Rewriter of the earlier trained turns of a sample, from the first one on.

    Args:
        name: name of the rewrites of the response; those of an earlier turn have its number too.
        reflection: the reflection, which is asked about each turn as if the conversation ended with it.
        accept: selector that accepts a rewrite, by scores over the trained turns after it.
        teacher: name of the teacher that is asked; the main one when left out.
    """

    def __init__(self, name: str, reflection: Reflection, accept: Selector, teacher: str | None) -> None:
        names = [f"{name}-turn-{number + 1}" for number in range(MOST_EARLIER_TURNS)]
        self._accept = accept
        self._teacher = teacher
        self.questions: Mapping[str, TurnReflection] = {
            one: TurnReflection(one, reflection, number) for number, one in enumerate(names)
        }

    async def run(self, sample: Sample, ctx: StageContext) -> Sample:
        """Return the sample with the rewrites of its earlier turns, and the decision about each."""
        for number, (name, question) in enumerate(self.questions.items()):
            if not is_asked(question, sample.current.pair):
                continue
            new = await ctx.reflect(name, question, sample.current, 0, self._teacher)
            if isinstance(new, Failure):
                sample = sample.failing(new)
                continue
            versions = (sample.current, new)
            # Only the turns after the rewritten one are compared: what they are worth in the new context.
            later = [evolve(version, pair=later_turns_only(version.pair, number)) for version in versions]
            scores = await ctx.score(later, self._accept.needs)
            rows = zip(versions, scores, strict=True)
            choice = self._accept.choose([Scored(sample.id, sample.row, *row, {}) for row in rows])
            names = (sample.current.name, new.name)
            sample = sample.adding(new).deciding(Decision("accept", names, choice.kept, choice.reason))
        return sample
