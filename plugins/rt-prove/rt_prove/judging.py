"""The judge of the trained models' answers: what it would be asked, and its verdicts.

All comparisons are one job in one run directory, so that one budget holds for all and each call is paid for once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen
from rich.console import Console

from rt_compare.contests import Contests
from rt_compare.judging import judge, judging_job
from rt_compare.side_by_side import effort, show_quote, unjudged
from rt_framework.cli.options import Builder, Config, Host, Limits, watching
from rt_framework.jobs.quoting import quote
from rt_framework.jobs.running import RunMode
from rt_framework.kit.parts import Spec
from rt_framework.kit.proofs import Proof
from rt_framework.terminal.printing import line
from rt_prove.arms import compared
from rt_prove.contests import Meetings, with_verdicts
from rt_prove.units import Measured, Plan, Unit

FOLDER = "judge"
"""Folder of the judge's answers, beside the units."""


@frozen
class Judging:
    """The judge that the user has named, with the options of its work."""

    teacher: Spec
    judge: str
    """The teacher's identity."""
    run_dir: Path
    """Directory for the judge's answers."""
    limits: Limits
    elsewhere: tuple[str, ...]
    """Other run directories, whose answers are used too."""
    moved: bool
    """Whether the judge may be asked at another place than before."""

    @classmethod
    def of(
        cls, host: Host, teacher: Spec, run_dir: Path, limits: Limits, elsewhere: tuple[str, ...], moved: bool
    ) -> Judging:
        """Return the work of a teacher.

        Raises:
            RtError: there is no such teacher, or its options are wrong.
        """
        judge = str(Builder(host).spec("teachers", teacher).identity)
        return cls(teacher, judge, run_dir, limits, elsewhere, moved)

    def job(self, contests: Contests) -> Config:
        """Return the job that judges pairs of answers."""
        return judging_job(contests, self.teacher, self.limits, self.elsewhere)


def show_calls(
    host: Host,
    judging: Judging,
    plan: Plan,
    best: Mapping[str, float] | None,
    done: Sequence[tuple[Unit, Measured]],
    console: Console,
) -> None:
    """Print what a judge would be asked, without asking: a quote, or the largest number of calls without answers.

    Args:
        host: finds the judge.
        judging: the judge.
        plan: the plan.
        best: the best learning rate of each arm; ``None`` if not all units are finished.
        done: the finished units with their results.
        console: where it is printed.

    Raises:
        RtError: an error that would keep the judge from starting.
    """
    if best is None:
        prompts, pairs = sum(map(len, plan.prompts.values())), len(compared([arm.name for arm in plan.arms]))
        console.print(
            f"the judge: {2 * prompts * len(plan.seeds) * pairs} calls, for prompts × seeds × comparisons × orders: "
            f"{prompts} × {len(plan.seeds)} × {pairs} × 2; fewer where answers are equal, more where an answer of the "
            "judge cannot be used. Their cost is quoted when all units are finished: there are no answers before"
        )
        return
    contests = Meetings.of(plan, best, done).contests
    if contests is None:
        console.print("no two answers differ: there is nothing to ask the judge")
    else:
        show_quote(console, quote(host, judging.job(contests), judging.run_dir, judging.moved, contests.source))


def judged(
    host: Host,
    judging: Judging,
    plan: Plan,
    proof: Proof,
    done: Sequence[tuple[Unit, Measured]],
    console: Console,
) -> tuple[Proof, int]:
    """Ask the judge, or look its answers up, and print what it was asked.

    Args:
        host: finds the judge.
        judging: the judge.
        plan: the plan.
        proof: the proof of what was measured.
        done: all units of the plan with their results.
        console: where it is printed.

    Returns:
        the proof with the comparisons of answers, and the number of pairs of answers that met errors.

    Raises:
        RtError: the job ended early; what was judged stays, and the same command goes on.
    """
    meetings = Meetings.of(plan, proof.best, done)
    contests = meetings.contests
    console.print(line(f"judge: {judging.judge}"))
    if contests is None:
        console.print("no two answers differ: the judge was not asked")
        return with_verdicts(proof, plan, meetings, {}, judging.judge), 0
    mode = RunMode(moved=judging.moved, job="judge")
    with watching(host, ["console"]) as watchers:
        work = judge(host, judging.job(contests), contests, judging.run_dir, mode, watchers)
        found = asyncio.run(work)
    told = f"pairs of answers: {contests.shared}, of which {contests.same} are equal, and ties without a call"
    for one in (told, *unjudged(found), effort(found.progress)):
        console.print(line(one))
    proof = with_verdicts(proof, plan, meetings, found.judged, found.judge)
    there = {(one.arm, one.control, one.outcome) for one in proof.comparisons}
    for meeting in meetings.meetings:
        if meeting.place not in there:
            arms = f"{meeting.arm} against {meeting.control}"
            console.print(line(f"{arms}: no prompt of {meeting.held_out} has a verdict for every seed"))
    return proof, found.errors
