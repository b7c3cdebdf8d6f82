"""Which decisions rest on a difference that is no larger than the student's arithmetic is exact."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from rt_framework.ledger import Story
from rt_framework.model import Decision, Range, Sample

EXACT = 2e-4
"""Relative agreement of scores from two ways of computing the same in float32; what the parity tests hold."""

COARSE = 1e-2
"""For half precision, whose numbers have 8 or 11 bits: an estimate, not a measurement."""


@frozen
class Judge:
    """A stage that decides by scores."""

    needs: tuple[str, ...]
    """Metrics that it reads; by the first of them it decides between versions."""
    bounds: Mapping[str, Range]
    """What the kept version's scores have to be, by metric."""


@frozen
class Doubts:
    """Tells which decisions are close calls.

    Args:
        noise: relative difference that counts as none.
        judges: the stages of the pipeline, in order, by the label that decisions have.
    """

    noise: float
    judges: Mapping[str, Judge]

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Doubts:
        """For a run: its student's precision, its stages as they were run."""
        student = str(manifest["frozen"].get("student", ""))
        noise = COARSE if re.search(r"\b(b?float16|half)\b", student) else EXACT
        return cls(noise, {stage["label"]: _judge(stage) for stage in manifest.get("stages", ())})

    def about(self, story: Story) -> list[str]:
        """Labels of the stages whose decision about a sample is within the noise."""
        sample = story.sample
        close = [decision.stage for decision in sample.decisions if self._close(sample, decision)]
        return close + (self._dropped(sample) if story.outcome == "dropped" else [])

    def _close(self, sample: Sample, decision: Decision) -> bool:
        """Whether another candidate has nearly the value of the one kept, or that one is near to a bound."""
        judge = self.judges.get(decision.stage)
        if judge is None:
            return False
        kept = numbers(sample, decision.kept)
        others = [numbers(sample, name) for name in decision.candidates if name != decision.kept]
        deciding = [metric for metric in judge.needs[:1] if metric in kept]
        tied = any(self._near(kept[one], other[one]) for one in deciding for other in others if one in other)
        return tied or any(self._near(kept[one], bound) for one, bound in _bounds(judge) if one in kept)

    def _dropped(self, sample: Sample) -> list[str]:
        """The stage that dropped a sample, if its score is outside of a bound and near to it.

        A stage with bounds that lets a sample pass notes a decision, so it is the first one without.
        """
        passed = {decision.stage for decision in sample.decisions}
        label = next((one for one, judge in self.judges.items() if judge.bounds and one not in passed), None)
        if label is None:
            return []
        judge, values = self.judges[label], numbers(sample, sample.kept)
        outside = {
            metric for metric, bounds in judge.bounds.items() if metric in values and values[metric] not in bounds
        }
        return [label] if any(self._near(values[one], bound) for one, bound in _bounds(judge) if one in outside) else []

    def _near(self, one: float, other: float) -> bool:
        return abs(one - other) <= self.noise * max(abs(one), abs(other))


def numbers(sample: Sample, version: str) -> dict[str, float]:
    """The scores of a version that are numbers, by metric."""
    scores = sample.scores.get(version, {})
    return {metric: score.value for metric, score in scores.items() if score.value is not None}


def _judge(stage: Mapping[str, Any]) -> Judge:
    bounds = {metric: Range(**given) for metric, given in stage["bounds"].items()}
    return Judge(tuple(stage["needs"]), bounds)


def _bounds(judge: Judge) -> Iterator[tuple[str, float]]:
    """Each bound, with its metric."""
    for metric, one in judge.bounds.items():
        yield from ((metric, bound) for bound in (one.below, one.at_most, one.above, one.at_least) if bound is not None)
