"""Bookkeeping of a run: records of samples in the ledger, counters, and events of stages and samples."""

from __future__ import annotations

from rt_framework.errors import described
from rt_framework.events import SampleFailed, SampleFinished, StageFinished, StageStarted
from rt_framework.kit.effort import Visit
from rt_framework.ledger import WAITING, Ledger, SampleHistory
from rt_framework.model import ORIGINAL, Dropped, Failure, Sample
from rt_framework.pipeline.steps import Step
from rt_framework.rundir import Meter
from rt_framework.text import without_secrets


class Recorder:
    """The recorder of one run.

    Args:
        ledger: where samples are recorded.
        meter: counts what happens and knows the reporters.
    """

    def __init__(self, ledger: Ledger, meter: Meter) -> None:
        self._ledger = ledger
        self._meter = meter
        self._begun: set[str] = set()

    # --- stages -----------------------------------------------------------------------------

    def reached(self, step: Step, sample: Sample, before: Visit | None = None) -> Visit:
        """Note that a sample has reached a stage, after its visit at the stage before."""
        if step.id not in self._begun:
            self._begun.add(step.id)
            self._meter.reporters.send("rt_stage_started", StageStarted(step.id, step.name))
        return self._meter.pace.reached(step.id, sample.original.pair.characters, before=before)

    def finished(self, step: Step) -> None:
        """Note that the last sample has left a stage; nothing is reported for a stage that no sample reached."""
        if step.id in self._begun:
            self._meter.reporters.send("rt_stage_finished", StageFinished(step.id, step.name))

    # --- samples at a stage -----------------------------------------------------------------

    def passed(self, step: Step, before: Sample, after: Sample) -> None:
        """Count and report the result of a stage for a sample that continues."""
        self._leaves(step, after, "passed")
        for decision in after.decisions[len(before.decisions) :]:
            if len(decision.candidates) > 1:
                self._meter.samples.chose(decision, after, step.stage.needs)
        for failure in after.failures[len(before.failures) :]:
            self._meter.samples.at(step.id, "unusable")
            self._report(after, failure, fatal=False)

    async def dropped(self, step: Step, outcome: Dropped) -> None:
        """Record that a stage dropped a sample, which is the sample's end."""
        self._leaves(step, outcome.sample, "dropped")
        await self._end(outcome.sample, "dropped", outcome.reason)

    async def failed(self, step: Step, sample: Sample, error: Exception) -> None:
        """Record that a stage failed on a sample, which is the sample's end."""
        self._leaves(step, sample, "failed")
        failure = Failure(step.id, "plugin_bug", without_secrets(described(error)))
        self._report(sample, failure, fatal=True)
        await self._end(sample.failing(failure), "failed", failure.reason)

    async def waits(self, sample: Sample) -> None:
        """Record a sample that waits for a stage over the whole data set, or continues to wait after one."""
        await self._ledger.samples.record(SampleHistory(sample, WAITING, None))

    async def chosen(self, step: Step, before: Sample, after: Sample) -> None:
        """Record that a data-set stage keeps a sample, which continues to wait."""
        self._leaves(step, after, "passed")
        if after is not before:
            await self.waits(after)

    async def kept(self, sample: Sample) -> None:
        """Record a sample that has come through all stages."""
        await self._end(sample, "original" if sample.kept == ORIGINAL else "rewritten", None)

    def _leaves(self, step: Step, sample: Sample, how: str) -> None:
        self._meter.samples.at(step.id, how)
        self._meter.pace.left(step.id, sample.original.pair.characters, how == "passed")

    async def _end(self, sample: Sample, outcome: str, reason: str | None) -> None:
        await self._ledger.samples.record(SampleHistory(sample, outcome, reason))
        self._meter.samples.ended(outcome)
        self._meter.reporters.send("rt_sample_finished", SampleFinished(sample.id, sample.row, outcome))

    def _report(self, sample: Sample, failure: Failure, fatal: bool) -> None:
        event = SampleFailed(sample.id, sample.row, failure.stage, failure.kind, failure.reason, fatal)
        self._meter.reporters.send("rt_sample_failed", event)
