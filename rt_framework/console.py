"""What people see: live progress on a terminal, plain lines in a pipe, tables at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rt_framework.errors import KINDS
from rt_framework.events import (
    BatchChanged,
    Progress,
    RunFinished,
    RunStarted,
    RunStopping,
    SampleFailed,
    Stalled,
    Summary,
)
from rt_framework.hookspecs import hookimpl
from rt_framework.plain import shown

_EVERY = 5.0
"""Seconds between two plain progress lines."""

VERSION_WORDS = {
    "original": "original",
    "instruction": "new instruction and answer",
    "response": "original instruction, better answer",
    "instruction.response": "new instruction, better answer",
}


def safe(text: object) -> Text:
    """*text* from anywhere, harmless on a terminal: no control characters, no markup."""
    return Text(shown(text))


def line(text: object) -> Text:
    """*text* on one line."""
    return safe(str(text).replace("\n", " "))


def stdout() -> Console:
    """The console of standard output; in a pipe as wide as it takes, so that no line is broken."""
    return Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 120, highlight=False)


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> Table:
    """A table of plain values.

    Args:
        title: shown above.
        head: column titles.
        rows: one sequence a row.
        right: columns whose values are numbers.
    """
    made = Table(title=safe(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(head):
        made.add_column(name, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(line(value) for value in row))
    return made


class ConsoleReporter:
    """The reporter of the command line."""

    def __init__(self) -> None:
        self._console = stdout()
        self._live: Live | None = None
        self._printed = time.monotonic()
        self._failures = 0

    @hookimpl
    def rt_run_started(self, event: RunStarted) -> None:
        """Say what runs on what."""
        for note in event.notes:
            self._console.print(line(note))
        self._console.print(line(f"writing to {event.run_dir}"))
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)
            self._live.start()

    @hookimpl
    def rt_progress(self, event: Progress) -> None:
        """Draw, or print a line now and then."""
        if self._live is not None:
            self._live.update(safe(progress_text(event, self._failures)))
        elif time.monotonic() - self._printed >= _EVERY:
            self._printed = time.monotonic()
            self._console.print(line(progress_text(event, self._failures)))

    @hookimpl
    def rt_sample_failed(self, event: SampleFailed) -> None:
        """Count; show only what ends a sample."""
        self._failures += 1
        if event.fatal:
            self._console.print(line(f"row {event.row} ({event.sample_id}) failed in {event.stage}: {event.reason}"))

    @hookimpl
    def rt_stalled(self, event: Stalled) -> None:
        """Say what is being waited for."""
        self._console.print(line(f"nothing has happened for {event.seconds:.0f} s: {event.why}"))

    @hookimpl
    def rt_batch_changed(self, event: BatchChanged) -> None:
        """Say where questions are."""
        then = "" if event.state == "collected" else "; Ctrl-C leaves it there, and the same command collects it later"
        self._console.print(line(f"batch {event.name}: {event.questions} questions {event.state}{then}"))

    @hookimpl
    def rt_run_stopping(self, event: RunStopping) -> None:
        """Say why the end takes a moment."""
        self._console.print(line(event.reason))
        if event.left:
            self._console.print(
                line(f"{event.left} questions stay with the provider in batches; the same command collects the answers")
            )
        if event.under_way:
            calls = f"{event.under_way} calls under way, which are paid for"
            self._console.print(line(f"waiting for {calls}; Ctrl-C leaves at once"))

    @hookimpl
    def rt_run_finished(self, event: RunFinished) -> None:
        """Show the account."""
        self.close()
        show_summary(self._console, event.summary)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def progress_text(event: Progress, failures: int = 0) -> str:
    """Progress as one line: samples, calls, tokens, cost, decisions so far, time left."""
    share = f"{event.finished}/{event.total}" if event.total else str(event.finished)
    parts = [f"{share} samples"]
    if event.calls or event.reused_calls:
        parts.append(f"{event.calls} calls, {event.retries} retries, {event.reused_calls} from the ledger")
        parts.append(f"{event.teacher_tokens} tokens")
        parts.append(dollars(event.nano_dollars))
    parts.append(f"student {event.forward_tokens} tokens, {event.forward_tokens / max(event.seconds, 1e-9):.0f}/s")
    if event.decisions:
        held, won = event.decisions.get("held", 0), event.decisions.get("rewrite", 0)
        parts.append(f"{held + won} choices, {won} for the rewrite")
    parts += [f"{count} {name}" for name, count in event.outcomes.items()]
    if failures:
        parts.append(f"{failures} unusable answers")
    if event.held:
        parts.append(event.held)
    if 0 < event.share < 1:
        left = event.seconds / event.share * (1 - event.share)
        parts.append(f"about {timedelta(seconds=round(left))} left")
    return " · ".join(parts)


def dollars(nano: int) -> str:
    """Nano-dollars as people read them."""
    return f"${nano / 1e9:.4f}"


def show_summary(console: Console, summary: Summary) -> None:
    """The account of a run."""
    for made in summary_tables(summary):
        console.print(made)
    progress = summary.progress
    held, won = progress.decisions.get("held", 0), progress.decisions.get("rewrite", 0)
    if held or won:
        console.print(line(f"{held + won} choices: {won} for the rewrite, {held} for the version held"))
    console.print(
        line(
            f"{progress.calls} teacher calls sent, {progress.retries} of them retries, "
            f"{progress.reused_calls} answers from the ledger, "
            f"{dollars(progress.nano_dollars)}; {progress.forward_tokens} student tokens computed, "
            f"{progress.reused_losses} losses from the ledger; {progress.seconds:.1f} s"
        )
    )
    if summary.errors:
        console.print(
            line(f"{summary.errors} samples met errors; run again, and what has no answer is asked for again")
        )
    for file in summary.files:
        console.print(line(file))


def summary_tables(summary: Summary) -> list[Table]:
    """Outcomes, failures and the scores before and after."""
    rows: list[tuple[object, ...]] = []
    for name, count in summary.versions.items():
        rows.append(("kept", VERSION_WORDS.get(name, name), count, _share(count, summary.total)))
    rows += [("dropped", reason, count, _share(count, summary.total)) for reason, count in summary.drops.items()]
    rows.append(
        ("failed", "", summary.outcomes.get("failed", 0), _share(summary.outcomes.get("failed", 0), summary.total))
    )
    if summary.waiting:
        rows.append(("waiting", "for all samples to reach a stage", summary.waiting, ""))
    tables = [table(f"{summary.total} samples", ("outcome", "version or reason", "samples", "share"), rows, (2, 3))]
    if summary.failures:
        tables.append(_failures(summary.failures))
    if summary.shifts:
        shifts = [(s.metric, f"{s.before:.4f}", f"{s.after:.4f}", s.samples) for s in summary.shifts]
        title = "Mean score of the kept samples that have both"
        tables.append(table(title, ("metric", "original", "kept version", "samples"), shifts, (1, 2, 3)))
    return tables


def _failures(failures: Mapping[str, int]) -> Table:
    rows = [(kind, KINDS[kind].meaning if kind in KINDS else "", count) for kind, count in failures.items()]
    return table(
        "Rewrites that failed; the sample went on with the version it had", ("kind", "meaning", "count"), rows, (2,)
    )


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else ""
