"""Counters of a run's progress, kept in one place and sent to the reporters a few times a second."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from rt_framework.events import Progress, RunStarted, StageProgress
from rt_framework.kit.estimates import Moments
from rt_framework.model import Decision, Reply, Sample
from rt_framework.plugin.host import Reporters

_INTERVAL = 0.2
"""Seconds between two progress events."""

_ENOUGH = 20
"""Passes through stages that ask the teacher, since the first paid call, for a believable cost projection."""


@frozen
class Traffic:
    """State of a run's calls at one moment; money in nano-dollars."""

    under_way: int = 0
    at_once: int = 0
    """Number of calls that may be under way at once."""
    held: str = ""
    """Cause that slows the calls, in words; empty if there is none."""
    spent: int = 0
    """Sum paid, or perhaps paid, by all runs of the directory."""
    reserved: int = 0
    budget: int | None = None


class Tally:
    """The counters of one process of a run.

    Args:
        reporters: receivers of the events.
        total: number of samples.
        stages: for each stage by name, in order, whether it asks the teacher.
    """

    def __init__(
        self, reporters: Reporters, total: int | None = None, stages: Mapping[str, bool] | None = None
    ) -> None:
        self.reporters = reporters
        self.total = total
        self.decisions: Counter[str] = Counter()
        self.finished = 0
        self.calls = 0
        self.retries = 0
        self.reused_calls = 0
        self.teacher_tokens = 0
        self.nano_dollars = 0
        self.forward_tokens = 0
        self.forward_passes = 0
        self.reused_losses = 0
        self.scoring = 0
        """Number of waves (sets of spans that are scored together) that the student is at work on."""
        self.outcomes: Counter[str] = Counter()
        self.priced = True
        """True if the teacher's price is known."""
        self.traffic: Callable[[], Traffic] = Traffic
        """Function that returns the state of calls and money."""
        self.why: Callable[[], str] = str
        """Function that says what is being waited for."""
        self._stages = dict(stages or {})
        self._counts: Counter[tuple[str, str]] = Counter()
        self._gains: defaultdict[str, Moments] = defaultdict(Moments)
        self._before_paying = (0, 0.0)
        self._begun = False
        self._started = self.moved = time.monotonic()
        self._told = 0.0

    def progress(self) -> Progress:
        """Return the counters as an event."""
        now = self.traffic()
        return Progress(
            finished=self.finished,
            total=self.total,
            calls=self.calls,
            retries=self.retries,
            reused_calls=self.reused_calls,
            teacher_tokens=self.teacher_tokens,
            nano_dollars=self.nano_dollars,
            forward_tokens=self.forward_tokens,
            reused_losses=self.reused_losses,
            outcomes=dict(self.outcomes),
            seconds=time.monotonic() - self._started,
            decisions=dict(self.decisions),
            held=now.held,
            share=self._share(list(self._stages)),
            spent=now.spent,
            stages=tuple(map(self._stage, self._stages)),
            under_way=now.under_way,
            at_once=now.at_once,
            reserved=now.reserved,
            budget=now.budget,
            projected=self._projected(now.spent),
            gains={metric: gain.mean for metric, gain in self._gains.items()},
            still=time.monotonic() - self.moved,
            waiting=self.why(),
            priced=self.priced,
        )

    # --- what happens -----------------------------------------------------------------------

    def begin(self, event: RunStarted) -> None:
        """Tell the reporters that the run begins; they are told of no progress before."""
        self._begun = True
        self.reporters.send("rt_run_started", event)

    def sent(self, calls: int, retries: int) -> None:
        """Count calls that go to the provider, and retries of calls."""
        if not self.calls:
            self._before_paying = self.traffic().spent, self._asked()
        self.calls += calls
        self.retries += retries

    def reused(self, stage: str) -> None:
        """Count an answer that was found in the ledger."""
        self.reused_calls += 1
        self._counts[stage, "reused"] += 1

    def answered(self, reply: Reply) -> None:
        """Count a paid answer."""
        self.nano_dollars += reply.nano_dollars
        self.teacher_tokens += reply.usage.completion_tokens
        self.changed()

    def at(self, stage: str, what: str) -> None:
        """Count an outcome of a sample at a stage; *what* is a field of :class:`rt_framework.events.StageProgress`."""
        self._counts[stage, what] += 1

    def chose(self, decision: Decision, sample: Sample, metrics: Sequence[str]) -> None:
        """Count a choice, and the kept version's gain over the held one in the metrics that were read for it."""
        held = decision.candidates[0]
        self.decisions["held" if decision.kept == held else "rewrite"] += 1
        for metric in metrics:
            gain = _value(sample, decision.kept, metric) - _value(sample, held, metric)
            if math.isfinite(gain):
                self._gains[metric].add(gain)

    def changed(self) -> None:
        """Tell the reporters, unless they were told a moment ago."""
        self.moved = time.monotonic()
        if self.moved - self._told >= _INTERVAL:
            self.tell()

    def tell(self) -> None:
        """Send the progress so far to the reporters."""
        if self._begun:
            self._told = time.monotonic()
            self.reporters.send("rt_progress", self.progress())

    # --- what follows from it ---------------------------------------------------------------

    def _stage(self, stage: str) -> StageProgress:
        kinds = ("passed", "dropped", "failed", "unusable", "reused")
        return StageProgress(stage, *(self._counts[stage, kind] for kind in kinds))

    def _asked(self) -> float:
        return self._share([stage for stage, asks in self._stages.items() if asks])

    def _share(self, stages: Sequence[str]) -> float:
        """Return the work done, 0 … 1, in passes through *stages*. A sample that ended counts as through the rest."""
        if not self.total:
            return 0.0
        if not self._stages:
            return min(self.finished / self.total, 1.0)
        passes = ended = 0
        for stage in self._stages:
            ended += self._counts[stage, "dropped"] + self._counts[stage, "failed"]
            if stage in stages:
                passes += self._counts[stage, "passed"] + ended
        return min(passes / (self.total * max(len(stages), 1)), 1.0)

    def _projected(self, spent: int) -> int | None:
        """Return the cost of the whole job: what is spent, plus the rest at the mean cost since the first paid call."""
        before, share = self._before_paying
        asked = self._asked()
        asking = sum(self._stages.values())
        if not self.calls or (asked - share) * (self.total or 0) * asking < _ENOUGH:
            return None
        return spent + round((spent - before) / (asked - share) * (1 - asked))


def _value(sample: Sample, version: str, metric: str) -> float:
    """Return a score that may win a choice, else NaN: a score that may not win is no measure of a gain."""
    score = sample.scores.get(version, {}).get(metric)
    return math.nan if score is None or score.value is None or not score.eligible else score.value
