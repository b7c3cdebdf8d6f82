"""The summary of a run on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from rt_framework.errors import KINDS, Retry
from rt_framework.events import Summary
from rt_framework.rundir import review_lines
from rt_framework.terminal.printing import line, money, saved, stdout, table
from rt_framework.text import number_of

VERSION_WORDS = {
    "original": "original",
    "instruction": "new instruction and answer",
    "response": "original instruction, better answer",
    "instruction.response": "new instruction, better answer",
}


def show_summary(console: Console, summary: Summary) -> None:
    """Print the summary of a run."""
    for made in summary_tables(summary):
        console.print(made)
    progress = summary.progress
    teacher, student, decisions = progress.teacher, progress.student, progress.samples.decisions
    current, won = decisions.get("current", 0), decisions.get("rewrite", 0)
    if current or won:
        choices = number_of(current + won, "choice")
        console.print(line(f"{choices}: {won} for the rewrite, {current} for the current version"))
    retries = (
        f", {teacher.retries} of them {'a retry' if teacher.retries == 1 else 'retries'}" if teacher.retries else ""
    )
    cost = money(progress.money.paid, progress.money.priced or not teacher.calls)
    cost += f" ({saved(progress.money.saved)})" if progress.money.saved else ""
    console.print(
        line(
            f"{number_of(teacher.calls, 'teacher call')} sent{retries}, "
            f"{number_of(teacher.reused, 'answer')} from the ledger, "
            f"{cost}; {number_of(student.tokens, 'student token')} computed, "
            f"{number_of(student.reused, 'loss', 'losses')} from the ledger; {progress.seconds:.1f} s"
        )
    )
    for told in review_lines(summary.reviews):
        console.print(line(told))
    for file in summary.files:
        console.print(line(file))


def show_ways_out(summary: Summary, run: str, retry: str) -> None:
    """Print the commands that ask again for what a run could not get.

    Args:
        summary: summary of the run.
        run: the command that resumes the run.
        retry: the command ``rt retry`` for it, without its kinds.
    """
    console = stdout()
    if summary.errors:
        met = f"{number_of(summary.errors, 'sample')} met errors"
        console.print(line(f"{met}; the same command asks again for the missing answers: {run}"))
    kinds = [kind for kind in summary.failures if kind in KINDS and KINDS[kind].retry is Retry.CHANGE]
    if kinds:
        count = number_of(sum(summary.failures[kind] for kind in kinds), "rewrite")
        again = " ".join([retry, *(f"--kind {kind}" for kind in kinds)])
        console.print(line(f"{count} without a usable answer; to ask again, which is paid for: {again}"))


def summary_tables(summary: Summary) -> list[Table]:
    """Return tables of the outcomes, the failures, the questions to fallbacks, and the scores before and after."""
    rows: list[tuple[object, ...]] = []
    for name, count in summary.versions.items():
        rows.append(("kept", VERSION_WORDS.get(name, name), count, _share(count, summary.total)))
    rows += [("dropped", reason, count, _share(count, summary.total)) for reason, count in summary.drops.items()]
    rows.append(
        ("failed", "", summary.outcomes.get("failed", 0), _share(summary.outcomes.get("failed", 0), summary.total))
    )
    if summary.waiting:
        rows.append(("waiting", "until all samples reach a stage over the whole data set", summary.waiting, ""))
    columns = ("outcome", "version or reason", "samples", "share")
    tables = [table(number_of(summary.total, "sample"), columns, rows, (2, 3))]
    if summary.failures:
        tables.append(_failures(summary.failures_at))
    if summary.handovers:
        handed = [(one.teacher, one.fallback, one.kind, _meaning(one.kind), one.questions) for one in summary.handovers]
        head = ("teacher", "fallback", "kind", "meaning", "questions")
        tables.append(table("Questions that went to the fallback of a teacher", head, handed, (4,)))
    if summary.shifts:
        shifts = [(s.metric, f"{s.before:.4f}", f"{s.after:.4f}", s.samples) for s in summary.shifts]
        title = "Mean scores of kept samples with a score of both versions"
        tables.append(table(title, ("metric", "original", "kept version", "samples"), shifts, (1, 2, 3)))
    return tables


def _failures(failures: Mapping[str, Mapping[str, int]]) -> Table:
    rows = [(stage, kind, _meaning(kind), count) for stage, kinds in failures.items() for kind, count in kinds.items()]
    title = "Rewrites that failed; each sample continued with its current version"
    return table(title, ("stage", "kind", "meaning", "count"), rows, (3,))


def _meaning(kind: str) -> str:
    return KINDS[kind].meaning if kind in KINDS else ""


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else ""
