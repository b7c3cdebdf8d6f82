"""A stage that keeps what the teacher grades high: AlpaGasus, arXiv 2307.08701."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rt_framework import Decision, Dropped, Failure, Range, Sample, Score
from rt_framework.protocols import Make, Question, StageContext
from rt_metrics.judging import Judgement
from rt_metrics.settings import AlpaGasusSettings


class AlpaGasus:
    """Drops a sample whose kept version the teacher grades below a threshold. The grade stands in the side file."""

    needs: Sequence[str] = ()

    def __init__(self, settings: AlpaGasusSettings, make: Make) -> None:  # noqa: ARG002 - every stage gets make
        self._settings = settings
        self._question = Judgement(settings.dimension, settings.max_tokens)
        self.reflections: Mapping[str, Question[Any]] = MappingProxyType({self._question.name: self._question})
        self.provides = MappingProxyType({self._question.name: Range(at_least=0, at_most=5)})

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:
        """Ask for a grade, note it, and judge by it."""
        name, least = self._question.name, self._settings.at_least
        grade = await ctx.ask(self._question, sample.current)
        if isinstance(grade, Failure):
            return self._without(sample.failing(grade), grade)
        sample = sample.scoring({sample.current: {name: Score(grade)}})
        if grade < least:
            return Dropped(sample, f"{name} below {least:g}")
        return sample.deciding(Decision(name, (sample.kept,), sample.kept, f"graded {grade:g}"))

    def _without(self, sample: Sample, failure: Failure) -> Sample | Dropped:
        """A sample without a grade: noted as such, never a number."""
        name = self._question.name
        sample = sample.scoring({sample.current: {name: Score(None, failure.kind, failure.reason)}})
        return Dropped(sample, f"{name}: not graded") if self._settings.on_failure == "drop" else sample
