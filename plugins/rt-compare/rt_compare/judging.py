"""The pairwise judge: a pipeline over pairs of answers, each judged in both orders and each judgement paid for once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import asdict, frozen

from rt_compare.contests import Contests, answers
from rt_compare.pairwise import NAME, Pairwise
from rt_compare.samples import Comparison
from rt_compare.verdicts import Judged, Verdicts, sign
from rt_framework import Decision, Dropped, Failure, Pair, Range, Reply, Request, Sample, Score, Unparsed, Version
from rt_framework.cli.options import Config, Data, Host, Limits, Output, Pipeline
from rt_framework.errors import ERRORS
from rt_framework.events import Progress
from rt_framework.jobs.running import RunMode, run
from rt_framework.kit.parts import Given, Spec
from rt_framework.protocols import StageContext
from rt_framework.results import FinishedRun, open_run

# --- the pipeline -----------------------------------------------------------------------------

A, B = "a", "b"
"""Names of the versions with the answers of the two sides."""
FIRST, SECOND = f"{NAME}-first", f"{NAME}-second"
"""Names of the marks of an answer: where it was shown first, and where it was shown second."""
_MARKS = Range(at_least=1, at_most=10)


class InOrder:
    """The question to the judge about two answers that stand in one pair, in one of the two orders.

    Args:
        turned: whether B's answer is shown first.
    """

    rewrites: Sequence[str] = ()

    def __init__(self, turned: bool) -> None:
        self._turned = turned

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """Return the request; see :meth:`rt_compare.pairwise.Pairwise.render`."""
        first, second = self._shown(pair)
        return Pairwise(second).render(first, index, structured)

    def parse(self, pair: Pair, request: Request, reply: Reply) -> tuple[float, float] | Unparsed:
        """Return the marks of the first and the second answer, or why the judge's answer cannot be used."""
        first, second = self._shown(pair)
        return Pairwise(second).parse(first, request, reply)

    def _shown(self, pair: Pair) -> tuple[Pair, Pair]:
        a, b = answers(pair)
        return (b, a) if self._turned else (a, b)


class Judge:
    """Stage that has two answers marked in both orders, and keeps the better one; of equal ones that of A.

    A pair of answers without marks in both orders is dropped: it counts for no side.
    """

    needs: Sequence[str] = ()
    provides: Mapping[str, Range] = MappingProxyType({FIRST: _MARKS, SECOND: _MARKS})

    def __init__(self) -> None:
        self.reflections = MappingProxyType({NAME: InOrder(turned=False), f"{NAME}-turned": InOrder(turned=True)})

    async def run(self, sample: Sample, ctx: StageContext) -> Sample | Dropped:
        """Ask in both orders at once, and decide."""
        pair = sample.original
        ab, ba = await asyncio.gather(*(ctx.ask(question, pair) for question in self.reflections.values()))
        if isinstance(ab, Failure):
            return _excluded(sample, ab)
        if isinstance(ba, Failure):
            return _excluded(sample, ba)
        a, b = (Version(name, one, pair.name) for name, one in zip((A, B), answers(pair.pair), strict=True))
        marked = sample.adding(a).adding(b)
        marked = marked.scoring({a: _scores(ab[0], ba[1]), b: _scores(ba[0], ab[1])})
        kept = B if _judged(marked).verdict < 0 else A
        reason = f"marks {ab[0]:g} and {ab[1]:g}; in the other order {ba[1]:g} and {ba[0]:g}"
        return marked.deciding(Decision(NAME, (A, B), kept, reason))


def _excluded(sample: Sample, failure: Failure) -> Dropped:
    return Dropped(sample.failing(failure), f"an order has no usable answer: {failure.kind}")


def _scores(first: float, second: float) -> dict[str, Score]:
    return {FIRST: Score(first), SECOND: Score(second)}


def _judged(sample: Sample) -> Judged:
    """Return the two judgements of a sample that the stage has marked."""
    marks = {(name, order): sample.scores[name][order].value or 0.0 for name in (A, B) for order in (FIRST, SECOND)}
    return Judged(
        shown_first=sign(marks[A, FIRST] - marks[B, SECOND]),
        shown_second=sign(marks[A, SECOND] - marks[B, FIRST]),
        lengths=(len(sample.version(A).pair.response), len(sample.version(B).pair.response)),
    )


def judging_job(contests: Contests, teacher: Spec, limits: Limits, elsewhere: tuple[str, ...] = ()) -> Config:
    """Return the job that judges pairs of answers. What it keeps, the better answers, is written as ``messages``.

    Args:
        contests: the pairs of answers.
        teacher: the judge.
        limits: limits of its calls.
        elsewhere: other run directories, whose answers are used too.
    """
    return Config(
        data=Data(contests.source.name),
        pipeline=Pipeline(stages=(Spec(NAME, Given(Judge())),)),
        teacher=teacher,
        answers=elsewhere,
        limits=limits,
        output=Output(format="jsonl", shape="messages"),
    )


# --- the results ------------------------------------------------------------------------------


@frozen
class Judgements:
    """Results of the judge."""

    judge: str
    """The teacher's identity."""
    drawn: int
    """Number of pairs of answers that were put before the judge."""
    shared: int
    same: int
    judged: Mapping[int, Judged]
    """The pairs of answers that have marks in both orders, by their rows in the source."""
    excluded: dict[str, int]
    """Pairs without a usable answer in both orders, by kind of failure: they count for no side, and not as ties."""
    progress: Progress

    @property
    def verdicts(self) -> Verdicts:
        """Counts of all judgements together."""
        return Verdicts.of(self.judged.values())

    @property
    def errors(self) -> int:
        """Number of pairs excluded because of an error; the same command asks about them again."""
        return sum(count for kind, count in self.excluded.items() if kind in ERRORS)


async def judge(
    host: Host, job: Config, contests: Contests, run_dir: Path, mode: RunMode, watchers: Sequence[object] = ()
) -> Judgements:
    """Ask about the pairs of answers in both orders, or look the answers up.

    Args:
        host: finds the plugins.
        job: the job, by :func:`judging_job`.
        contests: the pairs of answers.
        run_dir: directory in which the judge's answers are kept.
        mode: how many pairs are drawn, by its ``pilot`` and ``seed``.
        watchers: reporters.

    Raises:
        RtError: the job ended early; what was committed stays, and the same command resumes.
    """
    summary = await run(host, job, run_dir, watchers, mode, contests.source)
    with open_run(run_dir, host, contests.source) as finished:
        return _judgements(finished, contests, summary.progress)


def _judgements(finished: FinishedRun, contests: Contests, progress: Progress) -> Judgements:
    excluded: Counter[str] = Counter()
    judged: dict[int, Judged] = {}
    for history in finished:
        if history.is_kept:
            judged[history.sample.row] = _judged(history.sample)
        else:
            excluded[history.sample.failures[0].kind] += 1
    return Judgements(
        judge=finished.facts["teacher"],
        drawn=len(judged) + excluded.total(),
        shared=contests.shared,
        same=contests.same,
        judged=judged,
        excluded=dict(excluded.most_common()),
        progress=progress,
    )


def plain_results(found: Comparison, judged: Judgements | None) -> dict[str, Any]:
    """Return a comparison as plain values; under ``judge`` the judgements, with the win score from their counts."""
    if judged is None:
        return asdict(found)
    verdicts = judged.verdicts
    told = {name: getattr(judged, name) for name in ("judge", "drawn", "shared", "same", "excluded")}
    score = None if verdicts.score is None else asdict(verdicts.score)
    return {**asdict(found), "judge": {**told, "verdicts": asdict(verdicts), "win_score": score}}
