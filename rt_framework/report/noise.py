"""Which decisions rest on a difference that is no larger than the student's arithmetic is exact."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from rt_framework.ledger import Story
from rt_framework.model import Decision, Sample

EXACT = 2e-4
"""Relative agreement of scores from two ways of computing the same in float32; what the parity tests hold."""

COARSE = 1e-2
"""For half precision, whose numbers have 8 or 11 bits: an estimate, not a measurement."""


@frozen
class Doubts:
    """Tells which decisions are close calls.

    Args:
        noise: relative difference that counts as none.
        bounds: bounds of the gates, by metric.
    """

    noise: float
    bounds: Mapping[str, tuple[float, ...]]

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Doubts:
        """For a run: its student's precision, its gates."""
        student = str(manifest["frozen"].get("student", ""))
        return cls(COARSE if re.search(r"\b(b?float16|half)\b", student) else EXACT, dict(_bounds(manifest["config"])))

    def about(self, story: Story) -> list[str]:
        """Names of the stages whose decision about a sample is within the noise."""
        sample = story.sample
        close = [decision.stage for decision in sample.decisions if self._close(sample, decision)]
        return [*close, *(["gate"] if self._at_a_bound(sample) else [])]

    def _close(self, sample: Sample, decision: Decision) -> bool:
        """Whether the version kept and another candidate have nearly one value of the metric that decides."""
        for metric, value in numbers(sample, decision.kept).items():
            if not re.search(rf"(?<![\w-]){re.escape(metric)}(?![\w-])", decision.stage):
                continue
            others = (name for name in decision.candidates if name != decision.kept)
            found = (numbers(sample, name).get(metric) for name in others)
            if any(other is not None and self._near(value, other) for other in found):
                return True
        return False

    def _at_a_bound(self, sample: Sample) -> bool:
        values = numbers(sample, sample.kept)
        return any(
            self._near(values[metric], bound)
            for metric, bounds in self.bounds.items()
            if metric in values
            for bound in bounds
        )

    def _near(self, one: float, other: float) -> bool:
        return abs(one - other) <= self.noise * max(abs(one), abs(other))


def numbers(sample: Sample, version: str) -> dict[str, float]:
    """The scores of a version that are numbers, by metric."""
    scores = sample.scores.get(version, {})
    return {metric: score.value for metric, score in scores.items() if score.value is not None}


def _bounds(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Metric and bounds of each gate."""
    for stage in config.get("pipeline", {}).get("stages") or ():
        gate = stage.get("gate") if isinstance(stage, Mapping) else None
        if isinstance(gate, Mapping):
            yield from (
                (metric, tuple(one for one in bounds.values() if isinstance(one, int | float)))
                for metric, bounds in gate.items()
                if isinstance(bounds, Mapping)
            )
