"""The stages of Selective Reflection-Tuning: reflect, then let the student choose."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from attrs import evolve

from rt_framework.builtin.reflections.turns import MOST_EARLIER_TURNS, TurnReflection, later_turns_only
from rt_framework.builtin.stages.settings import ChooseSettings, ReflectSettings
from rt_framework.errors import ConfigError
from rt_framework.model import Decision, Dropped, Failure, Sample, Scored, Version
from rt_framework.protocols import (
    ColumnReader,
    Make,
    Providing,
    Reflection,
    Selector,
    StageContext,
    draw_names,
    is_asked,
)


class Reflect:
    """Stage that asks the teacher for a rewrite of the current version; in exhaustive mode of every version."""

    needs: Sequence[str] = ()

    def __init__(self, settings: ReflectSettings, make: Make) -> None:
        spec = settings.reflection
        self._reflection: Reflection = make("reflections", spec.name, spec.options)
        self._teacher = settings.teacher
        name = settings.as_ or spec.name
        self.reflections: Mapping[str, Reflection] = {name: self._reflection}
        self.teachers = (settings.teacher or "",)
        self.draws = settings.draws
        self._drops = settings.failed == "drop"
        self.provides = self._reflection.provides if isinstance(self._reflection, Providing) else {}
        self._names = draw_names(name, settings.draws)
        self._earlier: Mapping[str, TurnReflection] = {}
        if settings.turns == "each":
            names = [f"{name}-turn-{number + 1}" for number in range(MOST_EARLIER_TURNS)]
            earlier = {one: TurnReflection(one, self._reflection, number) for number, one in enumerate(names)}
            self._earlier, self.reflections = earlier, {**earlier, **self.reflections}
            self._accept: Selector = make("selectors", settings.accept.name, settings.accept.options)
            self.needs, self.decides_between = tuple(self._accept.needs), True

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:
        """Add the rewrites to the sample, or note the failures; after failures alone, drop it if that is the policy."""
        for number, name in enumerate(self._earlier):
            sample = await self._earlier_turn(sample, ctx, number, name)
        return await self._last_turn(sample, ctx)

    async def _earlier_turn(self, sample: Sample, ctx: StageContext, number: int, name: str) -> Sample:
        """Return the sample with a rewrite of an earlier turn, and the decision whether it is accepted."""
        question, current = self._earlier[name], sample.current
        if not is_asked(question, current.pair):
            return sample
        new = await ctx.reflect(name, question, current, 0, self._teacher)
        if isinstance(new, Failure):
            return sample.failing(new)
        versions = (current, new)
        # Only the turns after the rewritten one are compared: what they are worth in the new context.
        later = [evolve(version, pair=later_turns_only(version.pair, number)) for version in versions]
        scores = await ctx.score(later, self.needs)
        rows = zip(versions, scores, strict=True)
        choice = self._accept.choose([Scored(sample.id, sample.row, *row, {}) for row in rows])
        names = (current.name, new.name)
        return sample.adding(new).deciding(Decision("accept", names, choice.kept, choice.reason))

    async def _last_turn(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:
        """Return the sample with the rewrites of its response."""
        if not is_asked(self._reflection, sample.original.pair):
            return sample
        versions = sample.versions if ctx.exhaustive else (sample.current,)
        outcomes = await asyncio.gather(
            *(
                ctx.reflect(name, self._reflection, version, draw, self._teacher)
                for version in versions
                for draw, name in enumerate(self._names)
                if not _has_rewrite(sample, version, name)
            )
        )
        for outcome in outcomes:
            sample = sample.failing(outcome) if isinstance(outcome, Failure) else sample.adding(outcome)
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        if self._drops and outcomes and len(failures) == len(outcomes):
            return Dropped(sample, f"no answer: {failures[0].kind}")
        return sample


class Choose:
    """Stage that keeps the current version or one of its rewrites, as a selector decides."""

    reflections: Mapping[str, Reflection] = MappingProxyType({})

    def __init__(self, settings: ChooseSettings, make: Make) -> None:
        self._selector: Selector = make("selectors", settings.selector.name, settings.selector.options)
        if not hasattr(self._selector, "choose"):
            raise ConfigError(f"selector '{settings.selector.name}' chooses between samples; use it with 'select'")
        self.needs = tuple(self._selector.needs)
        self.columns = tuple(self._selector.columns) if isinstance(self._selector, ColumnReader) else ()

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:
        """Let the selector decide, if there is a rewrite that no choice has judged yet."""
        rivals = sample.rivals
        if not rivals:
            return sample
        versions = (sample.current, *rivals)
        scores = await ctx.score(versions, self.needs)
        extra = sample.extra if self.columns else {}
        candidates = [Scored(sample.id, sample.row, *pair, extra) for pair in zip(versions, scores, strict=True)]
        choice = self._selector.choose(candidates)
        names = tuple(version.name for version in versions)
        return sample.deciding(Decision("choose", names, choice.kept, choice.reason))


def _has_rewrite(sample: Sample, version: Version, reflection: str) -> bool:
    return any(other.parent == version.name and other.reflection == reflection for other in sample.versions)
