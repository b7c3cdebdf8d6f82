"""The pairwise judge: it compares both answers to each shared question in both orders, each paid for once."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from rt_framework.compare.pairwise import NAME, Pairwise
from rt_framework.compare.samples import Comparison
from rt_framework.compare.sides import ComparedSample, Side, prompt_key
from rt_framework.compare.verdicts import Judged, Verdicts, sign
from rt_framework.config import MAIN, Builder, Limits, NamedTeacher
from rt_framework.data import Destination, beside, claim, paths_in
from rt_framework.errors import ERRORS, ConfigError, DataError
from rt_framework.events import Progress, Summary
from rt_framework.kit.estimates import Estimate
from rt_framework.kit.parts import Spec
from rt_framework.kit.places import in_words
from rt_framework.model import ORIGINAL, Failure, Pair, Version, digest, keyed
from rt_framework.pipeline import PROBE, TeacherSide, teacher_sides
from rt_framework.plugin import Host
from rt_framework.rundir import (
    Opening,
    SampleCounter,
    Session,
    in_session,
    manifest_destination,
    room,
    write_manifest,
)
from rt_framework.teacher import check_priced

_WORDS = {1: "A better", 0: "tie", -1: "B better"}


@frozen
class Contest:
    """A question with the answers of both sides."""

    a: Pair
    b: Pair


@frozen
class Drawn:
    """The pairs of answers that are to be judged."""

    contests: tuple[Contest, ...]
    """The contests, in the order of A."""
    shared: int
    """Number of questions that both sides hold."""
    same: int
    """Number of these that both sides answer in the same words, so that there is nothing to judge or ask."""


@frozen
class Judgements:
    """Results of the judge."""

    judge: str
    """The teacher's identity."""
    drawn: int
    """Number of pairs of answers that were put before the judge."""
    shared: int
    same: int
    verdicts: Verdicts
    excluded: dict[str, int]
    """Pairs without a usable answer in both orders, by kind of failure: they count for no side, and not as ties."""
    progress: Progress

    @property
    def errors(self) -> int:
        """Number of pairs excluded because of an error; the same command asks about them again."""
        return sum(count for kind, count in self.excluded.items() if kind in ERRORS)


def draw(a: Side, b: Side, count: int | None, seed: int) -> Drawn:
    """Return the questions that both sides hold, or some of them; a question that occurs twice counts twice.

    Args:
        a: one side.
        b: the other.
        count: number of questions to draw at random from those with different answers; all when left out.
        seed: seed of the draw, which does not depend on the order of the rows.

    Raises:
        DataError: there is nothing to judge.
    """
    known = {key: row.pair.hash for key, row in _questions(a)}
    shared = {key: known[key] == row.pair.hash for key, row in _questions(b) if key in known}
    if not shared:
        raise DataError(f"{a.path} and {b.path} share no question: a judge compares answers to the same instruction")
    differ = [key for key, same in shared.items() if not same]
    if not differ:
        raise DataError(f"{a.path} and {b.path} answer every question that they share in the same words")
    wanted = set(heapq.nsmallest(len(differ) if count is None else count, differ, lambda key: digest([seed, key])))
    answers = {key: row.pair for key, row in _questions(b) if key in wanted}
    contests = tuple(Contest(row.pair, answers[key]) for key, row in _questions(a) if key in wanted)
    return Drawn(contests, len(shared), len(shared) - len(differ))


def _questions(side: Side) -> Iterator[tuple[str, ComparedSample]]:
    """Yield each row with a key of its question: a hash of the question, and how often it occurred before."""
    asked: Counter[str] = Counter()
    for row in side.rows():
        prompt = prompt_key(row.pair)
        yield f"{prompt}-{asked[prompt]}", row
        asked[prompt] += 1


@frozen
class JudgeJob:
    """The pairs to judge, the judge, and the directory where the judge's answers are kept."""

    teacher: Spec
    limits: Limits
    run_dir: Path
    drawn: Drawn
    asked: Mapping[str, Any]
    """Options that the user gave, for the manifest."""
    moved: bool = False
    """True if the judge may be asked at another place than the run directory records."""

    @classmethod
    def of(
        cls,
        host: Host,
        sides: tuple[Side, Side],
        teacher: Spec,
        limits: Limits,
        run_dir: Path,
        count: int | None,
        seed: int,
        moved: bool = False,
    ) -> JudgeJob:
        """Run every check that costs nothing, and draw the pairs to judge.

        Raises:
            ConfigError: *run_dir* is one of the two data sets that are compared.
            DataError: there is nothing to judge.
            PluginError: the teacher is unknown or broken.
        """
        if any(run_dir.resolve() == side.path.resolve() for side in sides):
            raise ConfigError(
                f"{run_dir} is one of the compared data sets: choose another --run-dir for the judge's answers"
            )
        check_priced(Builder(host).spec("teachers", teacher), str(teacher), limits.budget_usd)
        a, b = sides
        asked = {"a": str(a.path), "b": str(b.path), "judge": teacher, "sample": count, "seed": seed, "limits": limits}
        return cls(teacher, limits, run_dir, draw(a, b, count, seed), asked, moved)

    @property
    def size(self) -> int:
        """Size of all answers in bytes."""
        return sum(
            len(pair.response.encode("utf-8", "replace")) for one in self.drawn.contests for pair in (one.a, one.b)
        )


def claim_judged(
    sides: Sequence[Path],
    scores: Sequence[Path | None],
    teacher: Spec | None,
    run_dir: Path | None,
    out: Path | None,
    overwrite: bool,
) -> tuple[Path, Destination | None]:
    """Claim and return the directory of the judge's answers, if there is a judge, and the output file, if there is one.

    Args:
        sides: the data sets that are compared.
        scores: files with the scores of these.
        teacher: the judge.
        run_dir: directory for the judge's answers; beside *out* when left out.
        out: file for the results.
        overwrite: whether a file at *out* that rt did not write may be replaced.

    Raises:
        ConfigError: a destination must not be written.
        DiskError: a destination cannot be written.
    """
    answers = run_dir or (Path() if out is None else beside(out, "--json"))
    own = [] if teacher is None else [Destination(answers, "--run-dir", "run"), manifest_destination(answers, "judge")]
    found = None if out is None else Destination(out, "--json", "file", answers if own else None, overwrite)
    inputs = [*(path for path in scores if path is not None), *paths_in(teacher)]
    claim([*own, *([] if found is None else [found])], sides, inputs)
    return answers, found


async def judge(host: Host, job: JudgeJob, watchers: Sequence[object] = ()) -> Judgements:
    """Ask about every pair of answers in both orders, or look the answers up.

    Raises:
        RtError: the job ended early; what was committed stays, and the same command resumes.
    """
    total = len(job.drawn.contests)
    opening = Opening(
        job="judge",
        run_dir=job.run_dir,
        reporters=host.reporters(watchers),
        watchers=watchers,
        total=total,
        need=room(2 * total, 2 * job.size, teacher=True),
    )

    def end(session: Session, judgements: Judgements) -> Summary:
        outcomes = dict(session.meter.samples.outcomes)
        summary = Summary(total, outcomes, {}, {}, judgements.excluded, 0, (), judgements.progress)
        write_manifest(job.run_dir, host, session.ledger, job.asked, summary)
        return summary

    judgements, _ = await in_session(opening, partial(_judge, Builder(host), job), end)
    return judgements


async def _judge(make: Builder, job: JudgeJob, session: Session) -> Judgements:
    drawn = job.drawn
    async with AsyncExitStack() as stack:
        sides = teacher_sides(make, {MAIN: NamedTeacher(job.teacher)}, job.limits, session)
        stack.push_async_callback(sides.close)
        side = sides.main
        facts = {**sides.facts(), f"question {NAME}": _question_facts()}
        await session.claim(facts, job.moved)
        await sides.remember_prices(session.ledger)
        live = "recorded answers" if job.teacher.name == "replay" else "live"
        place = f", asked at {in_words([facts['place']])}" if "place" in facts else ""
        notes = (
            f"judge: {job.teacher} ({live}){place}",
            f"{len(drawn.contests)} pairs of answers, each in both orders",
        )
        await session.begin(job.run_dir, notes, job.asked)
        at_once = job.limits.at_once(sides.batched)
        results = await _all(drawn.contests, side, at_once, session.meter.samples)
        return Judgements(
            judge=side.teacher.identity,
            drawn=len(drawn.contests),
            shared=drawn.shared,
            same=drawn.same,
            verdicts=Verdicts.of(one for one in results if isinstance(one, Judged)),
            excluded=dict(Counter(one.kind for one in results if isinstance(one, Failure)).most_common()),
            progress=session.meter.progress(),
        )


async def _all(
    contests: Sequence[Contest], side: TeacherSide, at_once: int, samples: SampleCounter
) -> list[Judged | Failure]:
    """Judge every contest, *at_once* of them at a time. The first error that ends the sending is raised."""
    coming, results = iter(contests), []

    async def worker() -> None:
        for contest in coming:
            result = await _one(contest, side)
            results.append(result)
            samples.ended(_WORDS[result.verdict] if isinstance(result, Judged) else "excluded")

    workers = [asyncio.create_task(worker()) for _ in range(min(at_once, len(contests)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return results


async def _one(contest: Contest, side: TeacherSide) -> Judged | Failure:
    """Judge one contest, both orders at once; without both answers there is no verdict."""
    a, b = contest.a, contest.b
    ab, ba = await asyncio.gather(*(_ask(first, second, side) for first, second in ((a, b), (b, a))))
    if isinstance(ab, Failure):
        return ab
    if isinstance(ba, Failure):
        return ba
    lengths = len(a.response), len(b.response)
    return Judged(sign(ab[0] - ab[1]), sign(ba[1] - ba[0]), lengths)


async def _ask(first: Pair, second: Pair, side: TeacherSide) -> tuple[float, float] | Failure:
    return await side.client.ask(Pairwise(second), Version(ORIGINAL, first), NAME)


def _question_facts() -> str:
    """Return a fingerprint of the question's wording, because another wording asks something else."""
    question = Pairwise(PROBE)
    return digest(
        [keyed(question.render(PROBE, index, structured)) for index in (0, 1) for structured in (True, False)]
    )


def as_json(found: Comparison, judged: Judgements | None) -> dict[str, Any]:
    """Return a comparison as plain values; under ``judge`` the judgements, with the win score from their counts."""
    if judged is None:
        return asdict(found)
    verdicts = asdict(judged)
    del verdicts["progress"]
    score: Estimate | None = judged.verdicts.score
    return {**asdict(found), "judge": {**verdicts, "win_score": None if score is None else asdict(score)}}
