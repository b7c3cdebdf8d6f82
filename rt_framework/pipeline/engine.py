"""The engine that takes every sample through the stages, many samples at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from rt_framework.errors import RtError
from rt_framework.ledger import Ledger
from rt_framework.model import Dropped, Sample
from rt_framework.pipeline.barrier import Barrier
from rt_framework.pipeline.context import Chains, Context
from rt_framework.pipeline.outcomes import check, stamped
from rt_framework.pipeline.recorder import Recorder
from rt_framework.pipeline.steps import Step
from rt_framework.rundir import Meter, is_vetoed


class Engine:
    """A run of a pipeline over one data set.

    Args:
        steps: the stages of the pipeline, in order.
        chains: the teacher's and the student's side.
        ledger: where finished samples are recorded.
        meter: counts what happens and knows the reporters.
        in_flight: number of samples under way at once.
    """

    def __init__(self, steps: Sequence[Step], chains: Chains, ledger: Ledger, meter: Meter, in_flight: int) -> None:
        self._steps = tuple(steps)
        self._chains = chains
        self._ledger = ledger
        self._recorder = Recorder(ledger, meter)
        self._in_flight = in_flight
        self._needs = tuple(dict.fromkeys(metric for step in steps for metric in step.stage.needs))

    async def go(self, samples: Iterator[Sample]) -> None:
        """Take every sample to the end of its path and record its outcome.

        Raises:
            RtError: the run cannot go on; what was committed to the ledger stays there.
        """
        coming: Iterable[Sample] = samples
        for steps, last in _segments(self._steps):
            if last is None:
                await self._segment(coming, steps, self._recorder.kept)
            else:
                barrier = Barrier(last, self._chains, self._ledger, self._recorder)
                await self._segment(coming, steps, barrier.wait)
                coming = await barrier.decide()

    async def _segment(
        self, samples: Iterable[Sample], steps: Sequence[Step], passed: Callable[[Sample], Awaitable[None]]
    ) -> None:
        """Take every sample through *steps*, a bounded number at once; raise the first error that stops the run."""
        departures = _Departures(steps, self._recorder.finished)
        # The workers share one iterator, so samples are read only as workers become free.
        source = departures.counting(samples)

        async def worker() -> None:
            for sample in source:
                outcome = await self._through(sample, steps, departures)
                if outcome is not None:
                    await passed(outcome)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._in_flight):
                    group.create_task(worker())
        except ExceptionGroup as errors:
            raise _first(errors) from errors

    async def _through(self, sample: Sample, steps: Sequence[Step], departures: _Departures) -> Sample | None:
        """Take one sample through *steps*; return ``None`` if it was dropped or failed on the way."""
        visit = None
        for number, step in enumerate(steps):
            visit = self._recorder.reached(step, sample, visit)
            try:
                outcome = await self._step(sample, step)
            except RtError:
                raise
            except Exception as error:
                await self._recorder.failed(step, sample, error)
                departures.ended(number)
                return None
            if isinstance(outcome, Dropped):
                await self._recorder.dropped(step, outcome)
                departures.ended(number)
                return None
            self._recorder.passed(step, sample, outcome)
            departures.left(number)
            sample = outcome
        return sample

    async def _step(self, sample: Sample, step: Step) -> Sample | Dropped:
        if step.rewrites and is_vetoed(sample):
            return sample
        ctx = Context(self._chains, step, sample)
        outcome = await step.stage.run(sample, ctx)  # type: ignore[union-attr]
        check(sample, outcome)
        if self._chains.exhaustive and isinstance(outcome, Sample):
            # As in the published script, which scores every version by every metric, needed or not.
            await ctx.measure(outcome.versions, self._needs)
        after = stamped(step, sample, outcome, ctx)
        return self._chains.reviews.obeyed(after) if isinstance(after, Sample) else after


class _Departures:
    """Watcher of the samples on their way through some stages, which reports when the last one has left a stage."""

    def __init__(self, steps: Sequence[Step], last_left: Callable[[Step], None]) -> None:
        self._steps = steps
        self._last_left = last_left
        self._inside = [0] * len(steps)
        """Number of samples that are on their way to each stage or at it."""
        self._coming = True
        self._reported = 0

    def counting(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """Yield the samples, each on its way from then on."""
        source = iter(samples)
        following = next(source, None)
        while following is not None:
            # One sample is read ahead, because only then the last one is known as such while it is on its way.
            sample, following = following, next(source, None)
            self._coming = following is not None
            self._inside = [count + 1 for count in self._inside]
            yield sample
        self._coming = False
        self._report()

    def left(self, number: int) -> None:
        """Note that a sample has passed a stage."""
        self._inside[number] -= 1
        self._report()

    def ended(self, number: int) -> None:
        """Note that a sample has ended at a stage and will reach no later one."""
        for later in range(number, len(self._inside)):
            self._inside[later] -= 1
        self._report()

    def _report(self) -> None:
        # In order, since a sample that is on its way to a stage is on its way to all later ones too.
        while not self._coming and self._reported < len(self._steps) and not self._inside[self._reported]:
            self._reported += 1
            self._last_left(self._steps[self._reported - 1])


def _segments(steps: Sequence[Step]) -> list[tuple[tuple[Step, ...], Step | None]]:
    """Split the steps into segments of per-sample steps, each with the barrier that ends it; the last has none."""
    segments: list[tuple[tuple[Step, ...], Step | None]] = []
    current: tuple[Step, ...] = ()
    for step in steps:
        if step.barrier:
            segments.append((current, step))
            current = ()
        else:
            current = (*current, step)
    return [*segments, (current, None)]


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """Return the error to show: an ``RtError``, which the user can act on, before any other."""
    flat: list[Exception] = []
    stack: list[Exception] = [errors]
    while stack:
        error = stack.pop()
        if isinstance(error, ExceptionGroup):
            stack += error.exceptions
        else:
            flat.append(error)
    return next((error for error in flat if isinstance(error, RtError)), flat[0])
