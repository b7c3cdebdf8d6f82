"""The stages of Selective Reflection-Tuning: reflect, then let the student choose."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rt_framework.builtin.stages.earlier_turns import EarlierTurns
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
        self._settings = settings
        self._reflection: Reflection = make("reflections", spec.name, spec.options)
        self._name = name = settings.as_ or spec.name
        self.reflections: Mapping[str, Reflection] = {name: self._reflection}
        self.provides = self._reflection.provides if isinstance(self._reflection, Providing) else {}
        self._earlier: EarlierTurns | None = None
        if settings.turns == "each":
            accept: Selector = make("selectors", settings.accept.name, settings.accept.options)
            self._earlier = EarlierTurns(name, self._reflection, accept, settings.teacher)
            self.reflections = {**self._earlier.questions, **self.reflections}
            self.needs, self.decides_between = tuple(accept.needs), True

    @property
    def teachers(self) -> tuple[str, ...]:
        """The teacher that is asked."""
        return (self._settings.teacher or "",)

    @property
    def draws(self) -> int:
        """Number of rewrites of one version."""
        return self._settings.draws

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:
        """Add the rewrites to the sample, or note the failures; after failures alone, drop it if that is the policy."""
        if self._earlier is not None:
            sample = await self._earlier.run(sample, ctx)
        if not is_asked(self._reflection, sample.original.pair):
            return sample
        versions = sample.versions if ctx.exhaustive else (sample.current,)
        asked = [
            ctx.reflect(name, self._reflection, version, draw, self._settings.teacher)
            for version in versions
            for draw, name in enumerate(draw_names(self._name, self.draws))
            if not _has_rewrite(sample, version, name)
        ]
        # The usual single question needs no task of its own.
        outcomes = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
        for outcome in outcomes:
            sample = sample.failing(outcome) if isinstance(outcome, Failure) else sample.adding(outcome)
        failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        if self._settings.failed == "drop" and outcomes and len(failures) == len(outcomes):
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
