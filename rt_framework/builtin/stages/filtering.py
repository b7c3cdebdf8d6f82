"""Stages that keep or drop samples, with the reason."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from rt_framework.builtin.stages.settings import (
    GateSettings,
    MeasureSettings,
    SelectSettings,
    UnimprovedSettings,
)
from rt_framework.errors import ConfigError
from rt_framework.kit.score_table import ScoreTable
from rt_framework.model import Decision, Dropped, Range, Sample, Score, Verdict
from rt_framework.protocols import ColumnReader, DatasetSelector, Make, Reflection, StageContext, VectorReader


class Gate:
    """Stage that drops a sample whose kept version has a score outside the range, or none."""

    reflections: Mapping[str, Reflection] = MappingProxyType({})

    def __init__(self, settings: GateSettings, make: Make) -> None:  # noqa: ARG002 - every stage gets make
        self.bounds = settings.metrics
        self.needs = tuple(settings.metrics)
        if not self.needs:
            raise ConfigError("gate: name at least one metric")

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:
        """Return the sample if it passes, else its end with the reason."""
        (scores,) = await ctx.score((sample.current,), self.needs)
        for metric, bounds in self.bounds.items():
            fault = _fault(metric, scores[metric], bounds)
            if fault:
                return Dropped(sample, fault)
        passed = ", ".join(f"{metric} {scores[metric].value:.4g}" for metric in self.needs)
        return sample.deciding(Decision("gate", (sample.kept,), sample.kept, f"passed: {passed}"))


class Unimproved:
    """Stage that drops or keeps the samples whose response was not improved."""

    needs: Sequence[str] = ()
    reflections: Mapping[str, Reflection] = MappingProxyType({})

    def __init__(self, settings: UnimprovedSettings, make: Make) -> None:  # noqa: ARG002 - every stage gets make
        self._drop = settings.policy == "drop"

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:  # noqa: ARG002
        """Drop the sample if that is the policy and its response is still the original one."""
        if self._drop and sample.current.pair.response == sample.original.pair.response:
            return Dropped(sample, "response not improved")
        return sample


class Measure:
    """Stage that scores the original and the kept version, so that the report can compare them. Changes nothing."""

    reflections: Mapping[str, Reflection] = MappingProxyType({})

    def __init__(self, settings: MeasureSettings, make: Make) -> None:  # noqa: ARG002 - every stage gets make
        self.needs = settings.metrics

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:
        """Score both versions; the scores are stored with the sample."""
        await ctx.score((sample.original, sample.current), self.needs)
        return sample


class Select:
    """Stage that keeps a subset of the data set."""

    reflections: Mapping[str, Reflection] = MappingProxyType({})

    def __init__(self, settings: SelectSettings, make: Make) -> None:
        self._selector: DatasetSelector = make("selectors", settings.selector.name, settings.selector.options)
        if not hasattr(self._selector, "select"):
            raise ConfigError(f"selector '{settings.selector.name}' chooses between versions; use it with 'choose'")
        self.needs = tuple(self._selector.needs)
        self.columns = tuple(self._selector.columns) if isinstance(self._selector, ColumnReader) else ()
        self.embeds = self._selector.embeds if isinstance(self._selector, VectorReader) else None
        self.bounds = getattr(self._selector, "bounds", {})

    async def run_all(self, samples: Sequence[Sample], ctx: StageContext) -> Iterable[Sample | Dropped]:  # noqa: ARG002
        """Decide on all samples at once, by the scores that come with them."""
        table, numbers = ScoreTable(self.needs), array("Q")
        for sample in samples:
            table.append(sample.id, sample.scores.get(sample.kept, {}))
            numbers.append(sample.row)
        verdicts = self._selector.select(
            table.rows(
                numbers,
                lambda place: samples[place].current,
                extra=lambda place: samples[place].extra,
                vector=None if self.embeds is None else lambda place: samples[place].vector,
            )
        )
        return (self._outcome(*decided) for decided in zip(samples, verdicts, strict=True))

    def _outcome(self, sample: Sample, verdict: Verdict) -> Sample | Dropped:
        if not verdict.keep:
            return Dropped(sample, f"not selected: {verdict.reason}")
        return sample.deciding(Decision("select", (sample.kept,), sample.kept, verdict.reason))


def _fault(metric: str, score: Score, bounds: Range) -> str | None:
    """Return why a score does not pass, in words that are the same for every sample with that fault."""
    if score.value is None:
        return f"gate {metric}: not scored ({score.status})"
    return None if score.value in bounds else f"gate {metric}: not {bounds}"
