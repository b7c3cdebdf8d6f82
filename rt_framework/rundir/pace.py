"""Time that the rest of a job will take, estimated from its work: texts for the student, and calls of the teacher.

What the samples at each stage have cost so far says what those that still have to reach it will cost; the speed at
which student and teacher have worked says how long that takes. The two work at the same time, so the slower one
decides. A time is given only when two spans lead to about the same: the whole run so far and its second half, or else
this half and its own second half.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise, starmap

from attrs import define, field, frozen

from rt_framework.kit.effort import Effort, Visit, begin, now

_SINCE = 3.0
"""Least seconds of work before a time is given."""

_AGREE = 1.3
"""Largest ratio of the two estimates for one of them to be given."""

_CLOSE = 5.0
"""Seconds by which the two may differ anyway."""

_BATCHES = 3
"""Least forward passes before the student's speed counts."""

_FEW = 10
"""Samples at a stage below which what they cost says nothing about how that grows with their size."""

_EVERY = 0.5
"""Seconds between two readings that are kept."""

_MOST = 2000
"""Most readings that are kept; above it, every second one is left out."""


@frozen
class MeteredStage:
    """A stage of the pipeline, as far as progress goes."""

    id: str
    name: str
    """Place, kind and options, for people."""
    asks: bool
    """True if the stage asks the teacher."""
    needs: tuple[str, ...] = ()
    """Metrics by which it scores samples."""
    barrier: bool = False
    """True if it decides on all samples at once."""


@define
class _Tally:
    """Samples at a stage, counted by number or by size, and what they have cost."""

    arrived: float = 0.0
    left: float = 0.0
    passed: float = 0.0
    known: float = 0.0
    """Samples that left with results of earlier runs alone."""
    effort: Effort = field(factory=Effort)

    @property
    def inside(self) -> float:
        return self.arrived - self.left

    @property
    def survives(self) -> float:
        return self.passed / self.left if self.left else 1.0

    @property
    def text(self) -> float | None:
        """Characters that a student reads for a new sample, or for each of its own; ``None`` before the first one."""
        new = self.arrived - self.known
        return self.effort.characters / new if new > 0 else None

    @property
    def call(self) -> float | None:
        """Seconds of calls for a new sample; ``None`` before the first one is done."""
        new = self.left - self.known
        return self.effort.seconds / new if new > 0 and self.effort.calls else None


@frozen
class _Reading:
    """Work that was done by a time."""

    at: float
    student: float = 0.0
    """Characters read, and the seconds in which there were any to read."""
    student_busy: float = 0.0
    student_done: float = 0.0
    """The busy seconds when the student last finished a batch: what it has read since then is not known."""
    teacher: float = 0.0
    """Seconds of calls, those under way counted up to now, and the seconds in which calls were wanted."""
    teacher_busy: float = 0.0
    finished: float = 0.0


@frozen
class Load:
    """Work that student and teacher have in hand at a moment."""

    outstanding: int = 0
    """Characters of the texts whose losses are asked for and not known yet."""
    passes: int = 0
    """Forward passes so far."""
    loading: bool = False
    """True while the student is loaded, which says nothing about its speed."""
    under_way: int = 0
    """Calls under way."""
    finished: int = 0
    """Finished samples."""


class Pace:
    """The pace of a job.

    Args:
        stages: the stages of the pipeline, in order; one that scores, if there are none.
        total: number of samples.
    """

    def __init__(self, stages: Sequence[MeteredStage], total: int) -> None:
        self._stages = tuple(stages) or (MeteredStage("", "", asks=False, needs=("",)),)
        self._total = total
        self._efforts = {stage.id: Effort() for stage in self._stages}
        self._counts = {stage.id: _Tally(effort=self._efforts[stage.id]) for stage in self._stages}
        self._sizes = {stage.id: _Tally(effort=self._efforts[stage.id]) for stage in self._stages}
        """The same counts, each sample by its number of characters."""
        self._readings = [_Reading(time.monotonic())]
        self._load = Load()

    def begin(self) -> None:
        """Note that the work begins now."""
        self._readings = [_Reading(time.monotonic())]

    # --- what happens -----------------------------------------------------------------------

    def reached(self, stage: str, size: int, count: int = 1, before: Visit | None = None) -> Visit:
        """Note that samples have reached a stage, and let what the present task asks for count for their visit.

        Args:
            stage: id of the stage; empty for a job without stages.
            size: characters of the samples.
            count: number of samples.
            before: visit of the same samples at the stage before.
        """
        self._counts[stage].arrived += count
        self._sizes[stage].arrived += size
        visit = Visit(self._efforts[stage], fresh=before is not None and before.fresh)
        begin(visit)
        return visit

    def left(self, stage: str, size: int, passed: bool, count: int = 1, visit: Visit | None = None) -> None:
        """Note that samples have left a stage: they go on to the next one, or have ended there."""
        visit = visit or now()
        known = visit is not None and not visit.fresh
        for tally, amount in ((self._counts[stage], count), (self._sizes[stage], size)):
            tally.left += amount
            tally.passed += amount if passed else 0
            tally.known += amount if known else 0

    def read(self, load: Load) -> None:
        """Note what student and teacher have to do now."""
        last, at, before = self._readings[-1], time.monotonic(), self._load
        passed = at - last.at
        computing = (before.outstanding or load.outstanding) and not (before.loading and load.loading)
        asked = sum(effort.characters for effort in self._efforts.values())
        wanted = any(self._counts[stage.id].inside >= 1 for stage in self._stages if stage.asks)
        done, busy = asked - load.outstanding, last.student_busy + (passed if computing else 0.0)
        reading = _Reading(
            at,
            done,
            busy,
            busy if done > last.student else last.student_done,
            last.teacher + passed * (before.under_way + load.under_way) / 2,
            last.teacher_busy + (passed if wanted else 0.0),
            load.finished,
        )
        self._load = load
        if len(self._readings) > 1 and last.at - self._readings[-2].at < _EVERY:
            self._readings[-1] = reading
        else:
            self._readings.append(reading)
        if len(self._readings) > _MOST:
            del self._readings[1:-1:2]

    # --- what is left -----------------------------------------------------------------------

    def seconds_left(self) -> float | None:
        """Return the seconds that the rest will take; ``None`` while that cannot be told."""
        first, last = self._readings[0], self._readings[-1]
        if not self._total or last.at - first.at < _SINCE:
            return None
        starts = [last.at - part * (last.at - first.at) for part in (1.0, 0.5, 0.25)]
        spans = [self._readings[bisect_left(self._readings, start, key=lambda one: one.at)] for start in starts]
        found = [self._since(one, last) for one in spans]
        return next((both for both in starmap(_agreed, pairwise(found)) if both is not None), None)

    def _since(self, first: _Reading, last: _Reading) -> float | None:
        """Return the seconds left at the speed between two readings."""
        student, teacher = self._student_work(), self._teacher_work()
        if student is None or teacher is None or self._is_open():
            return None
        if not (student or teacher):
            return self._by_finished(first, last)
        times = []
        if student:
            busy = last.student_done - first.student_done
            if self._load.passes < _BATCHES or last.student <= first.student:
                return None
            begun = last.student_busy - last.student_done
            times.append(max(student * busy / (last.student - first.student) - begun, 0.0))
        if teacher:
            busy = last.teacher_busy - first.teacher_busy
            if last.teacher <= first.teacher:
                return None
            times.append(self._drained(teacher * busy / (last.teacher - first.teacher)))
        return max(times)

    def _by_finished(self, first: _Reading, last: _Reading) -> float | None:
        """Return the seconds left if neither student nor teacher has anything to do."""
        done = last.finished - first.finished
        return (self._total - last.finished) * (last.at - first.at) / done if done > 0 else None

    def _is_open(self) -> bool:
        """Return whether it is open how many samples a stage over all of them will leave to stages that cost much."""
        for number, stage in enumerate(self._stages):
            decided = self._counts[stage.id].left > 0
            if stage.barrier and not decided:
                return any(
                    later.asks or not set(later.needs) <= set(stage.needs) for later in self._stages[number + 1 :]
                )
        return False

    def _coming(self, tallies: Mapping[str, _Tally], total: float) -> list[float]:
        """Return for each stage what is still to reach it of a total, if as much is dropped as so far."""
        coming = [total - tallies[self._stages[0].id].arrived]
        for stage in self._stages[:-1]:
            tally = tallies[stage.id]
            coming.append((coming[-1] + tally.inside) * tally.survives)
        return coming

    def _student_work(self) -> float | None:
        """Return the characters that the student still has to read; ``None`` if that cannot be told."""
        arrived = self._counts[self._stages[0].id].arrived
        mean = self._sizes[self._stages[0].id].arrived / arrived if arrived else 0.0
        # What a sample costs grows with its size, though not in proportion: the mean of both assumptions is used.
        by_number = self._texts_coming(self._counts, 1.0)
        by_size = self._texts_coming(self._sizes, mean)
        if by_number is None or by_size is None:
            return None
        return self._load.outstanding + (by_number + by_size) / 2

    def _texts_coming(self, tallies: Mapping[str, _Tally], mean: float) -> float | None:
        """Return the characters that will be asked for; ``None`` before any sample has been at a stage that scores.

        Args:
            tallies: the samples at each stage, by their number or by their size.
            mean: what a sample amounts to in these on average.
        """
        known = [text for tally in tallies.values() if (text := tally.text)]
        if not known and any(stage.needs for stage in self._stages):
            return None
        usual = sum(known) / max(1, len(known))
        work, had, is_new = 0.0, set[str](), True
        for stage, coming in zip(self._stages, self._coming(tallies, self._total * mean), strict=True):
            is_new = is_new or stage.asks or not set(stage.needs) <= had
            if coming >= 1 and stage.needs:
                cost = tallies[stage.id].text
                if cost is not None and self._counts[stage.id].arrived < _FEW:
                    cost = (self._counts[stage.id].text or 0.0) / mean
                if cost is None:
                    # No sample has been there. New texts or metrics cost what other stages do. Of texts and metrics
                    # that there were before most losses are known: a last 'measure' costs about a quarter.
                    cost = usual if is_new else usual / 4
                work += coming * cost
            if stage.needs:
                had |= set(stage.needs)
                is_new = False
        return work

    def _teacher_work(self) -> float | None:
        """Return the seconds of calls that the teacher still has to answer; ``None`` if that cannot be told."""
        asking = [stage for stage in self._stages if stage.asks]
        known = [cost for stage in asking if (cost := self._counts[stage.id].call) is not None]
        ended = sum(self._efforts[stage.id].calls for stage in asking)
        work = 0.0
        for stage, coming in zip(self._stages, self._coming(self._counts, self._total), strict=True):
            if not stage.asks:
                continue
            tally = self._counts[stage.id]
            visits = coming + tally.inside
            if visits < 1:
                continue
            if not known or ended < self._load.under_way:
                return None  # the answers that have come are the quickest ones
            cost = tally.call if tally.call is not None else sum(known) / len(known)
            work += visits * cost
        return max(work - self._begun(), 0.0)

    def _drained(self, seconds: float) -> float:
        """Return the seconds until the last call has ended, which fewer and fewer others are under way with."""
        calls: list[float] = []
        for stage, coming in zip(self._stages, self._coming(self._counts, self._total), strict=True):
            effort = self._efforts[stage.id]
            if effort.calls and (calls or coming + self._counts[stage.id].inside >= 1):
                calls.append(effort.seconds / effort.calls)
        if not calls:
            return seconds
        # The last sample still has to be asked about at each of these stages, one after the other.
        return max(seconds + max(calls) / 2, sum(calls) - calls[0] / 2)

    def _begun(self) -> float:
        """Return the seconds that the calls under way have taken so far."""
        ended = sum(effort.seconds for effort in self._efforts.values())
        return max(self._readings[-1].teacher - ended, 0.0)


def _agreed(one: float | None, other: float | None) -> float | None:
    """Return the mean of two estimates; ``None`` if one is missing or they differ much."""
    if one is None or other is None:
        return None
    low, high = sorted((one, other))
    return (low + high) / 2 if high <= low * _AGREE or high - low <= _CLOSE else None
