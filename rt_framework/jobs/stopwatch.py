"""The pace of a pilot: the times between its finished samples."""

from __future__ import annotations

import time

from attrs import evolve

from rt_framework.events import RunStarted, SampleFinished
from rt_framework.hookspecs import hookimpl
from rt_framework.kit.estimates import Estimate, Moments


class Stopwatch:
    """A reporter that measures the times between finished samples."""

    def __init__(self) -> None:
        self.gaps = Moments()
        self.first: float | None = None
        """Seconds from the start to the first finished sample."""
        self._began = self._last = time.monotonic()

    @hookimpl
    def rt_run_started(self, event: RunStarted) -> None:  # noqa: ARG002 - the hook's signature
        """Start the clock."""
        self._began = time.monotonic()

    @hookimpl
    def rt_sample_finished(self, event: SampleFinished) -> None:  # noqa: ARG002 - the hook's signature
        """Measure the time since the previous finished sample."""
        now = time.monotonic()
        if self.first is None:
            self.first = now - self._began
        else:
            self.gaps.add(now - self._last)
        self._last = now

    def seconds(self, population: int, in_flight: int) -> Estimate | None:
        """Return the time of *population* rows at the measured pace; ``None`` if there are too few gaps.

        If no more rows were run than are under way at once, all were begun before the first was finished, and the
        gaps miss the work until then. So the upper end is then at least the pace with the start counted in.
        """
        gap = self.gaps.interval()
        if gap is None:
            return None
        found, rows = gap.times(population), self.gaps.count + 1
        with_start = (self._last - self._began) / rows * population
        return evolve(found, high=max(found.high, with_start)) if rows <= in_flight else found
