"""Barriers: stages over the whole data set, at which each sample waits for all others."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

from attrs import evolve

from rt_framework.kit.compact import LazySequence
from rt_framework.ledger import Ledger
from rt_framework.model import Dropped, Sample
from rt_framework.pipeline.context import WAVE, Chains, Context, DatasetContext
from rt_framework.pipeline.outcomes import blamed, check, stamped
from rt_framework.pipeline.recorder import Recorder
from rt_framework.pipeline.steps import Step


class Barrier:
    """One stage over the whole data set. Samples that wait for it lie in the ledger, so that no text is in memory.

    Args:
        step: the stage.
        chains: the teacher's and the student's side.
        ledger: where samples wait.
        recorder: records them.
    """

    def __init__(self, step: Step, chains: Chains, ledger: Ledger, recorder: Recorder) -> None:
        self._step = step
        self._chains = chains
        self._ledger = ledger
        self._recorder = recorder

    async def wait(self, sample: Sample) -> None:
        """Score a sample that has reached the barrier, and store it until all others have reached it."""
        self._recorder.reached(self._step, sample)
        ctx = Context(self._chains, self._step, sample)
        with blamed(self._step):
            await ctx.score((sample.current,), self._step.stage.needs)
        await self._recorder.waits(ctx.noting(sample))

    async def decide(self) -> Sequence[Sample]:
        """Let the stage decide on all waiting samples, and return those that it keeps, which continue to wait.

        Raises:
            PluginError: the stage failed; no sample can go on without its decision.
        """
        with blamed(self._step):
            await self._fit()
        ctx = DatasetContext(self._chains, self._step)
        with blamed(self._step):
            samples = await self._embedded(self._chains.columns.all(self._ledger.samples.waiting()))
            outcomes = await self._step.stage.run_all(samples, ctx)  # type: ignore[union-attr]
            decided = _checked(samples, outcomes)
        while True:
            with blamed(self._step):
                wave = list(islice(decided, WAVE))
            if not wave:
                break
            await asyncio.gather(*(self._record(before, after, ctx) for before, after in wave))
        self._recorder.finished(self._step)
        return self._chains.columns.all(self._ledger.samples.waiting())

    async def _embedded(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return the samples with their vectors, if the stage reads such; each is read when the stage asks for it."""
        embeds, vectors = self._step.embeds, self._chains.vectors
        if embeds is None:
            return samples
        assert vectors is not None, "without a student the job is refused"
        read = await vectors.computed((sample.current.pair for sample in samples), embeds)
        return LazySequence(len(samples), lambda place: evolve(samples[place], vector=partial(read, place)))

    async def _fit(self) -> None:
        """Fit the metrics that are fitted to the whole data set, and score all waiting samples by them."""
        samples = self._ledger.samples.waiting()
        needs = [metric for metric in self._step.stage.needs if metric not in self._chains.provided]
        if not needs:
            return
        fitted = await self._chains.scoring.fit(needs, lambda: (sample.current.pair for sample in samples))
        every = iter(samples if fitted else ())
        while wave := list(islice(every, WAVE)):
            ctx = Context(self._chains, self._step)
            await ctx.score([sample.current for sample in wave], fitted)
            for sample in wave:
                await self._recorder.waits(ctx.noting(sample))

    async def _record(self, before: Sample, outcome: Sample | Dropped, ctx: Context) -> None:
        after = stamped(self._step, before, outcome, ctx)
        if isinstance(after, Dropped):
            await self._recorder.dropped(self._step, after)
        else:
            await self._recorder.chosen(self._step, before, self._chains.reviews.obeyed(after))


def _checked(
    samples: Iterable[Sample], outcomes: Iterable[Sample | Dropped]
) -> Iterator[tuple[Sample, Sample | Dropped]]:
    """Yield each sample with its checked outcome."""
    for sample, outcome in zip(samples, outcomes, strict=True):
        check(sample, outcome)
        yield sample, outcome
