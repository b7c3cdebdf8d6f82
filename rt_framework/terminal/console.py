"""The summary of a run on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from rt_framework.errors import KINDS
from rt_framework.events import Summary
from rt_framework.rundir import review_lines
from rt_framework.terminal.printing import line, money, saved, table
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
    cost = money(progress.money.paid, progress.money.priced or not teacher.calls)
    cost += f" ({saved(progress.money.saved)})" if progress.money.saved else ""
    console.print(
        line(
            f"{number_of(teacher.calls, 'teacher call')} sent, {teacher.retries} of them retries, "
            f"{number_of(teacher.reused, 'answer')} from the ledger, "
            f"{cost}; {number_of(student.tokens, 'student token')} computed, "
            f"{student.reused} losses from the ledger; {progress.seconds:.1f} s"
        )
    )
    if summary.errors:
        met = f"{number_of(summary.errors, 'sample')} met errors"
        console.print(line(f"{met}; run again to ask again for the missing answers"))
    for told in review_lines(summary.reviews):
        console.print(line(told))
    for file in summary.files:
        console.print(line(file))


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
        tables.append(_failures(summary.failures))
    if summary.handovers:
        handed = [(one.teacher, one.fallback, one.kind, _meaning(one.kind), one.questions) for one in summary.handovers]
        head = ("teacher", "fallback", "kind", "meaning", "questions")
        tables.append(table("Questions that went to the fallback of a teacher", head, handed, (4,)))
    if summary.shifts:
        shifts = [(s.metric, f"{s.before:.4f}", f"{s.after:.4f}", s.samples) for s in summary.shifts]
        title = "Mean scores of kept samples with a score of both versions"
        tables.append(table(title, ("metric", "original", "kept version", "samples"), shifts, (1, 2, 3)))
    return tables


def _failures(failures: Mapping[str, int]) -> Table:
    rows = [(kind, _meaning(kind), count) for kind, count in failures.items()]
    return table(
        "Rewrites that failed; each sample continued with its current version", ("kind", "meaning", "count"), rows, (2,)
    )


def _meaning(kind: str) -> str:
    return KINDS[kind].meaning if kind in KINDS else ""


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else ""
