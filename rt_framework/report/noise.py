"""Detection of decisions that rest on a difference within the numeric error of the student's arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from attrs import frozen

from rt_framework.model import Decision, Sample
from rt_framework.results import FinishedRun, SampleHistory, StageFacts

EXACT = 2e-4
"""Relative agreement of scores from two ways of computing the same in float32, as the parity tests demand it."""

COARSE = 4e-2
"""The same for half precision, whose numbers have 8 or 11 significant bits. With the products of a model of 135 million
parameters in bfloat16 added up in another order, 95 % of the scores of real rows stayed within 3.5e-2."""


@frozen
class Doubts:
    """Finder of decisions that are close calls.

    Args:
        noise: largest relative difference that counts as none.
        stages: the stages of the pipeline, in order, by id.
    """

    noise: float
    stages: Mapping[str, StageFacts]

    @classmethod
    def of(cls, run: FinishedRun) -> Doubts:
        """Return the finder for a run, from its student's precision and its stages as they were run."""
        student = str(run.facts.get("student", ""))
        noise = COARSE if re.search(r"\b(b?float16|half)\b", student) else EXACT
        return cls(noise, run.stages)

    def about(self, history: SampleHistory) -> list[str]:
        """Return the ids of the stages whose decision about a sample is within the noise."""
        sample = history.sample
        close = [decision.stage for decision in sample.decisions if self._close(sample, decision)]
        return close + (self._dropped(sample) if history.outcome == "dropped" else [])

    def _close(self, sample: Sample, decision: Decision) -> bool:
        """Return whether another candidate has nearly the value of the kept one, or the kept one is near a bound."""
        stage = self.stages.get(decision.stage)
        if stage is None:
            return False
        kept = numbers(sample, decision.kept)
        others = [numbers(sample, name) for name in decision.candidates if name != decision.kept]
        deciding = [metric for metric in stage.needs[:1] if metric in kept]
        tied = any(
            self._near(kept[metric], other[metric]) for metric in deciding for other in others if metric in other
        )
        return tied or any(self._near(kept[metric], bound) for metric, bound in _bounds(stage) if metric in kept)

    def _dropped(self, sample: Sample) -> list[str]:
        """Return the id of the stage that dropped a sample, if its score is outside a bound and near it.

        A stage with bounds notes a decision for a sample that passes, so the first one without a decision dropped it.
        """
        passed = {decision.stage for decision in sample.decisions}
        stage = next((stage for stage in self.stages.values() if stage.bounds and stage.id not in passed), None)
        if stage is None:
            return []
        values = numbers(sample, sample.kept)
        outside = {
            metric for metric, bounds in stage.bounds.items() if metric in values and values[metric] not in bounds
        }
        near = any(self._near(values[metric], bound) for metric, bound in _bounds(stage) if metric in outside)
        return [stage.id] if near else []

    def _near(self, value: float, other: float) -> bool:
        return abs(value - other) <= self.noise * max(abs(value), abs(other))


def numbers(sample: Sample, version: str) -> dict[str, float]:
    """Return the scores of a version that are numbers, by metric."""
    scores = sample.scores.get(version, {})
    return {metric: score.value for metric, score in scores.items() if score.value is not None}


def _bounds(stage: StageFacts) -> Iterator[tuple[str, float]]:
    """Yield each bound with its metric."""
    for metric, limits in stage.bounds.items():
        yield from (
            (metric, bound)
            for bound in (limits.below, limits.at_most, limits.above, limits.at_least)
            if bound is not None
        )
