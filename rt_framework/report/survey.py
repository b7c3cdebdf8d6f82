"""The first reading of a run: a line of numbers a sample, and what adds up over all of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from attrs import field, frozen

from rt_framework.ledger import KEPT, Ledger, Story
from rt_framework.model import Decision, Sample
from rt_framework.report.noise import Doubts, numbers
from rt_framework.report.texts import fit

_HEAD = 100
"""Characters of an instruction that the list of samples shows."""

_NUMBER = re.compile(r"(?<![<>≤≥]\s)(?<![\w.<>≤≥-])-?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")
"""A number that is no bound: bounds stand behind a sign."""


@frozen
class SampleLine:
    """One sample as the list shows it."""

    id: str
    row: int
    outcome: str
    kept: str
    why: str
    """Reason of a drop or failure, without its numbers, so that equal reasons are equal; else empty."""
    head: str
    before: Mapping[str, float]
    """Numbers of the original, by metric."""
    after: Mapping[str, float]
    """Numbers of the version that the sample came to, by metric."""
    length_before: int
    """Characters of the response."""
    length_after: int
    failed: tuple[str, ...]
    """Kinds of failure that it met."""
    near: bool
    """Whether one of its decisions is within numeric noise."""


@frozen
class Choosing:
    """A choice between two lengths: that of the version that won and that of the best other."""

    stage: str
    rewrite: bool
    """Whether a rewrite won."""
    longer: int
    """Characters that the rewrite's response is longer than the held one's."""


@frozen
class Survey:
    """All lines, and what adds up."""

    lines: tuple[SampleLine, ...]
    flow: tuple[tuple[tuple[int, str], tuple[int, str], int], ...]
    """From, to, samples: what a sample was after each stage that decided; stages count from 0."""
    stages: tuple[str, ...]
    """Their names, the first being the input and the last the end."""
    choices: tuple[Choosing, ...]
    noise: float
    """Relative difference between two scores that counts as none."""
    doubts: Mapping[str, int]
    """Decisions within numeric noise, by stage."""
    failures: Mapping[str, int]
    unscored: int
    """Samples that lack a number where a stage asked for one."""
    metrics: tuple[str, ...] = field(factory=tuple)

    @property
    def total(self) -> int:
        """Samples."""
        return len(self.lines)


def survey_of(ledger: Ledger, manifest: Mapping[str, Any]) -> Survey:
    """Read every sample once."""
    doubts = Doubts.of(manifest)
    lines: list[SampleLine] = []
    ways: Counter[tuple[tuple[str, str], ...]] = Counter()
    choices: list[Choosing] = []
    near: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    unscored = 0
    for story in ledger.stories():
        found = doubts.about(story)
        near.update(found)
        lines.append(_line(story, bool(found)))
        ways[tuple(_way(story))] += 1
        choices += _choices(story.sample)
        failures.update(failure.kind for failure in story.sample.failures)
        unscored += any(score.value is None for scores in story.sample.scores.values() for score in scores.values())
    stages = _order(ways)
    return Survey(
        lines=tuple(lines),
        flow=_flow(ways, stages),
        stages=stages,
        choices=tuple(choices),
        noise=doubts.noise,
        doubts=dict(near),
        failures=dict(failures.most_common()),
        unscored=unscored,
        metrics=tuple(sorted({metric for line in lines for metric in (*line.before, *line.after)})),
    )


def why(story: Story) -> str:
    """The reason of a drop or failure in words that many samples share."""
    return " ".join(_NUMBER.sub("", fit(story.reason or "")).split())


def _line(story: Story, near: bool) -> SampleLine:
    sample = story.sample
    return SampleLine(
        id=sample.id,
        row=sample.row,
        outcome=story.outcome,
        kept=sample.kept,
        why=why(story),
        head=" ".join(fit(sample.current.pair.instruction[: 4 * _HEAD]).split())[:_HEAD],
        before=numbers(sample, sample.original.name),
        after=numbers(sample, sample.kept),
        length_before=len(sample.original.pair.response),
        length_after=len(sample.current.pair.response),
        failed=tuple(dict.fromkeys(failure.kind for failure in sample.failures)),
        near=near,
    )


# --- how samples moved ------------------------------------------------------------------------


def _way(story: Story) -> Iterator[tuple[str, str]]:
    """Stage and state of a sample, from the input to its end."""
    yield "input", "original"
    for decision in story.sample.decisions:
        if len(decision.candidates) > 1 or decision.kept not in decision.candidates:
            yield decision.stage, decision.kept
    yield "end", story.sample.kept if story.outcome in KEPT else f"{story.outcome}: {why(story)}"


def _order(ways: Counter[tuple[tuple[str, str], ...]]) -> tuple[str, ...]:
    """Every stage that decided, in the order in which samples meet them."""
    longest = sorted(ways, key=len, reverse=True)
    stages = dict.fromkeys(stage for way in longest for stage, _ in way if stage != "end")
    return (*stages, "end")


def _flow(ways: Counter[tuple[tuple[str, str], ...]], stages: tuple[str, ...]) -> Any:
    """A sample that meets no choice at a stage stays what it was; one that ended goes straight to its end."""
    links: Counter[Any] = Counter()
    for way, count in ways.items():
        at, state = dict(way), "original"
        passed = []
        for number, stage in enumerate(stages):
            state = at.get(stage, state)
            passed.append((number, state))
        for link in pairwise(passed):
            links[link] += count
    return tuple((source, target, count) for (source, target), count in sorted(links.items()))


# --- what the choices were between -------------------------------------------------------------


def _choices(sample: Sample) -> Iterator[Choosing]:
    lengths = {version.name: len(version.pair.response) for version in sample.versions}
    for decision in sample.decisions:
        held, *rivals = decision.candidates
        if rivals:
            rival = _rival(decision, rivals)
            yield Choosing(decision.stage, decision.kept != held, lengths[rival] - lengths[held])


def _rival(decision: Decision, rivals: list[str]) -> str:
    return decision.kept if decision.kept in rivals else rivals[-1]
