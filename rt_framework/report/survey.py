"""The first reading of a run: one line of numbers for each sample, and totals over all of them."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from attrs import field, frozen

from rt_framework.kit.compact import LazySequence
from rt_framework.kit.echo import echo_of
from rt_framework.kit.passages import Passage, PassageCounts
from rt_framework.ledger import KEPT
from rt_framework.model import Decision, Sample
from rt_framework.report.lines import Choices, Choosing, Lines, SampleLine
from rt_framework.report.noise import Doubts, numbers
from rt_framework.report.texts import fit
from rt_framework.results import FinishedRun, SampleHistory, StageFacts
from rt_framework.rundir import label_of
from rt_framework.text import without_values

_HEAD = 100
"""Characters of an instruction that the list of samples shows."""


@frozen
class Survey:
    """The lines of all samples, and totals over them."""

    lines: Sequence[SampleLine]
    flow: tuple[tuple[tuple[int, str], tuple[int, str], int], ...]
    """Moves of samples: source, target and number; each end is a stage, from 0, and the state after it."""
    stages: tuple[str, ...]
    """Names of the stages that decided; the first is the input, and the last the end."""
    choices: Sequence[Choosing]
    noise: float
    """Largest relative difference between two scores that counts as none."""
    doubts: Mapping[str, int]
    """Number of decisions within numeric noise, by stage."""
    failures: Mapping[str, int]
    unscored: Mapping[str, int]
    """Number of samples that lack a score which a stage asked for, by the status of the first one that is missing."""
    passages: tuple[Passage, ...]
    """Passages that stand in several kept responses, the most frequent first."""
    metrics: tuple[str, ...] = field(factory=tuple)

    @property
    def total(self) -> int:
        """Number of samples."""
        return len(self.lines)

    def where(self, wanted: Callable[[SampleLine], bool]) -> Sequence[SampleLine]:
        """Return the lines that are wanted; only their places are held."""
        places = array("L", (place for place, line in enumerate(self.lines) if wanted(line)))
        return LazySequence(len(places), lambda at: self.lines[places[at]])

    @property
    def repeated(self) -> float:
        """Share of the kept responses in which the most frequent passage stands, if it stands in several."""
        kept = sum(line.outcome in KEPT for line in self.lines)
        return self.passages[0].count / kept if self.passages and kept else 0.0


def survey_of(run: FinishedRun) -> Survey:
    """Read every sample once, and return the survey. Its stages are named by their labels."""
    doubts = Doubts.of(run)
    lines, choices = Lines(), Choices()
    ways: Counter[tuple[tuple[str, str], ...]] = Counter()
    near: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    passages = PassageCounts()
    metrics: set[str] = set()
    unscored: Counter[str] = Counter()
    for history in run:
        close = doubts.about(history)
        near.update(label_of(doubts.stages, stage) for stage in close)
        echoes = {version.name: echo_of(version.pair) for version in history.sample.versions}
        line = _line(history, echoes, bool(close))
        metrics |= {*line.before, *line.after}
        lines.append(line)
        ways[tuple(_way(history, doubts.stages))] += 1
        for choice in _choices(history.sample, echoes, doubts.stages):
            choices.append(choice)
        failures.update(failure.kind for failure in history.sample.failures)
        if history.is_kept:
            passages.add(history.sample.current.pair.response)
        unscored.update(_lacking(history.sample))
    stages = _order(ways)
    return Survey(
        lines=lines.all(),
        flow=_flow(ways, stages),
        stages=stages,
        choices=choices.all(),
        noise=doubts.noise,
        doubts=dict(near),
        failures=dict(failures.most_common()),
        unscored=dict(unscored.most_common()),
        passages=tuple(passages.top(5)),
        metrics=tuple(sorted(metrics)),
    )


def _lacking(sample: Sample) -> list[str]:
    """Return the status of the first score that a sample lacks, if it lacks one."""
    scores = (score for by_metric in sample.scores.values() for score in by_metric.values())
    return [score.status for score in scores if score.value is None][:1]


def why(history: SampleHistory) -> str:
    """Return the reason of a drop or failure in words that many samples share."""
    return without_values(fit(history.reason or ""))


def _line(history: SampleHistory, echoes: Mapping[str, float | None], near: bool) -> SampleLine:
    sample = history.sample
    return SampleLine(
        id=sample.id,
        row=sample.row,
        outcome=history.outcome,
        kept=sample.kept,
        why=why(history),
        head=" ".join(fit(sample.current.pair.instruction[: 4 * _HEAD]).split())[:_HEAD],
        text=sample.current.pair.hash,
        before=numbers(sample, sample.original.name),
        after=numbers(sample, sample.kept),
        length_before=len(sample.original.pair.response),
        length_after=len(sample.current.pair.response),
        echo_before=echoes[sample.original.name],
        echo_after=echoes[sample.kept],
        failed=tuple(dict.fromkeys(failure.kind for failure in sample.failures)),
        near=near,
    )


# --- how samples moved ------------------------------------------------------------------------


def _way(history: SampleHistory, stages: Mapping[str, StageFacts]) -> Iterator[tuple[str, str]]:
    """Yield each stage that a sample met and its state after it, from the input to the end."""
    yield "input", "original"
    for decision in history.sample.decisions:
        if len(decision.candidates) > 1 or decision.kept not in decision.candidates:
            yield label_of(stages, decision.stage), decision.kept
    yield "end", history.sample.kept if history.is_kept else f"{history.outcome}: {why(history)}"


def _order(ways: Counter[tuple[tuple[str, str], ...]]) -> tuple[str, ...]:
    """Return every stage that decided, in the order in which samples meet them."""
    longest = sorted(ways, key=len, reverse=True)
    stages = dict.fromkeys(stage for way in longest for stage, _ in way if stage != "end")
    return (*stages, "end")


def _flow(ways: Counter[tuple[tuple[str, str], ...]], stages: tuple[str, ...]) -> Any:
    """Count the moves between stages; a sample that met no choice at a stage, or ended before, keeps its state."""
    links: Counter[Any] = Counter()
    for way, count in ways.items():
        states, state = dict(way), "original"
        passed = []
        for number, stage in enumerate(stages):
            state = states.get(stage, state)
            passed.append((number, state))
        for link in pairwise(passed):
            links[link] += count
    return tuple((source, target, count) for (source, target), count in sorted(links.items()))


# --- what the choices were between -------------------------------------------------------------


def _choices(
    sample: Sample, echoes: Mapping[str, float | None], stages: Mapping[str, StageFacts]
) -> Iterator[Choosing]:
    lengths = {version.name: len(version.pair.response) for version in sample.versions}
    for decision in sample.decisions:
        current, *rivals = decision.candidates
        if rivals:
            rival = _rival(decision, rivals)
            label = label_of(stages, decision.stage)
            old, new = echoes[current], echoes[rival]
            more = None if old is None or new is None else new - old
            yield Choosing(label, decision.kept != current, lengths[rival] - lengths[current], more)


def _rival(decision: Decision, rivals: list[str]) -> str:
    return decision.kept if decision.kept in rivals else rivals[-1]
