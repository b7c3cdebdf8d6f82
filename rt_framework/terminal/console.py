"""Display of results to people: text made harmless, tables, the summary of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rt_framework.errors import KINDS
from rt_framework.events import Summary
from rt_framework.kit.stdout import own
from rt_framework.text import shown

VERSION_WORDS = {
    "original": "original",
    "instruction": "new instruction and answer",
    "response": "original instruction, better answer",
    "instruction.response": "new instruction, better answer",
}


def safe(text: object) -> Text:
    """Return *text* from any source, made harmless on a terminal: no control characters, no markup."""
    return Text(shown(text))


def line(text: object) -> Text:
    """Return *text* on one line, made harmless as by :func:`safe`."""
    return safe(str(text).replace("\n", " "))


def stdout() -> Console:
    """Return the console of standard output; in a pipe, long lines are not broken."""
    file = own()
    terminal = file.isatty()
    return Console(file=file, soft_wrap=not terminal, width=None if terminal else 120, highlight=False)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> Table:
    """Return a table of plain values.

    Args:
        title: shown above.
        head: column titles.
        rows: one sequence a row.
        right: positions of the columns whose values are numbers, which are aligned to the right.
    """
    made = Table(title=safe(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(head):
        made.add_column(name, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(line(value) for value in row))
    return made


def dollars(nano: int) -> str:
    """Return nano-dollars as dollars, for people to read."""
    return f"${nano / 1e9:.4f}"


def money(nano: int, priced: bool) -> str:
    """Return an amount in words that do not present an unknown price as zero.

    Args:
        nano: nano-dollars of the calls that had a price.
        priced: whether all calls had a price.
    """
    if priced:
        return dollars(nano)
    return f"{dollars(nano)} and calls without a known price" if nano else "unknown cost (no price for this teacher)"


def show_summary(console: Console, summary: Summary) -> None:
    """Print the summary of a run."""
    for made in summary_tables(summary):
        console.print(made)
    progress = summary.progress
    teacher, student, decisions = progress.teacher, progress.student, progress.samples.decisions
    current, won = decisions.get("current", 0), decisions.get("rewrite", 0)
    if current or won:
        console.print(line(f"{current + won} choices: {won} for the rewrite, {current} for the current version"))
    cost = money(progress.money.paid, progress.money.priced or not teacher.calls)
    console.print(
        line(
            f"{teacher.calls} teacher calls sent, {teacher.retries} of them retries, "
            f"{teacher.reused} answers from the ledger, "
            f"{cost}; {student.tokens} student tokens computed, "
            f"{student.reused} losses from the ledger; {progress.seconds:.1f} s"
        )
    )
    if summary.errors:
        console.print(line(f"{summary.errors} samples met errors; run again to ask again for the missing answers"))
    for file in summary.files:
        console.print(line(file))


def summary_tables(summary: Summary) -> list[Table]:
    """Return tables of the outcomes, the failures, and the scores before and after."""
    rows: list[tuple[object, ...]] = []
    for name, count in summary.versions.items():
        rows.append(("kept", VERSION_WORDS.get(name, name), count, _share(count, summary.total)))
    rows += [("dropped", reason, count, _share(count, summary.total)) for reason, count in summary.drops.items()]
    rows.append(
        ("failed", "", summary.outcomes.get("failed", 0), _share(summary.outcomes.get("failed", 0), summary.total))
    )
    if summary.waiting:
        rows.append(("waiting", "until all samples reach a stage over the whole data set", summary.waiting, ""))
    tables = [table(f"{summary.total} samples", ("outcome", "version or reason", "samples", "share"), rows, (2, 3))]
    if summary.failures:
        tables.append(_failures(summary.failures))
    if summary.shifts:
        shifts = [(s.metric, f"{s.before:.4f}", f"{s.after:.4f}", s.samples) for s in summary.shifts]
        title = "Mean scores of kept samples with a score of both versions"
        tables.append(table(title, ("metric", "original", "kept version", "samples"), shifts, (1, 2, 3)))
    return tables


def _failures(failures: Mapping[str, int]) -> Table:
    rows = [(kind, KINDS[kind].meaning if kind in KINDS else "", count) for kind, count in failures.items()]
    return table(
        "Rewrites that failed; each sample continued with its current version", ("kind", "meaning", "count"), rows, (2,)
    )


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else ""
