"""The live screen: the progress of a run on a terminal, or as plain lines in a pipe."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from rt_framework.events import (
    BatchChanged,
    Money,
    Preparing,
    Progress,
    RunFinished,
    RunStarted,
    RunStopping,
    SampleCounts,
    SampleFailed,
    Stalled,
)
from rt_framework.hookspecs import hookimpl
from rt_framework.terminal.console import show_summary
from rt_framework.terminal.printing import dollars, line, money, saved, stdout
from rt_framework.text import number_of

_EVERY = 10.0
"""Seconds between two plain progress lines."""

_STILL = 10.0
"""Seconds without progress after which the screen says so."""

_FAILURES = 20
"""Most samples whose failure is told while the run goes on; the summary counts them all."""


def screen(progress: Progress, notes: Sequence[str] = ()) -> RenderableType:
    """Return the progress of a run as one picture, for terminals of 60 columns or more.

    Args:
        progress: the progress of the run.
        notes: lines to show beneath.
    """
    parts: list[RenderableType] = [_bar(progress), _facts(progress)]
    if progress.stages:
        parts += [line(""), _stages(progress)]
    # The last line is empty because the terminal echoes ^C there, which must not begin a new line.
    return Group(*parts, *map(line, notes), line(""))


def progress_text(progress: Progress) -> str:
    """Return the progress of a run as one line: what :func:`screen` shows, without its table."""
    parts = [f"{name} {text}" for name, text in _told(progress)]
    if progress.stages:
        parts.append("through each stage " + ", ".join(str(stage.passed) for stage in progress.stages))
    return " · ".join(parts)


def _bar(progress: Progress) -> Table:
    """Return the share of work done, as a bar that a terminal without colours shows too, and as a number."""
    made = Table.grid(expand=True, padding=(0, 1, 0, 0))
    made.add_column(ratio=1)
    made.add_column(no_wrap=True)
    percent = 100 * progress.samples.share
    made.add_row(ProgressBar(completed=percent), line(f"{percent:.0f} %"))
    return made


def _facts(progress: Progress) -> Table:
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True, style="bold")
    made.add_column(overflow="fold")
    for name, text in _told(progress):
        made.add_row(name, line(text))
    return made


def _stages(progress: Progress) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    made.add_column("stage")
    for name in ("passed", "dropped", "failed", "unusable", "reused"):
        made.add_column(name, justify="right", no_wrap=True)
    for one in progress.stages:
        stage, counts = line(one.name or one.stage), (one.passed, one.dropped, one.failed, one.unusable, one.reused)
        stage.no_wrap, stage.overflow = True, "ellipsis"  # set for the column, this would take room from the numbers
        made.add_row(stage, *(str(count) if count else "·" for count in counts))
    return made


def _told(progress: Progress) -> Iterator[tuple[str, str]]:
    """Yield name and text of each row for which there is something to say."""
    samples, teacher, student = progress.samples, progress.teacher, progress.student
    count = f"{samples.finished}/{samples.total}" if samples.total else str(samples.finished)
    outcomes = ", ".join(f"{number} {name}" for name, number in samples.outcomes.items())
    yield "samples", count + (f": {outcomes}" if outcomes else "")
    if teacher.calls or teacher.reused or teacher.at_once:
        # What is waited for stands in the last row, with its reason.
        throttled = f"; {teacher.throttled}" if teacher.throttled and not progress.waiting else ""
        yield "teacher", f"{teacher.under_way} of {teacher.at_once} calls under way{throttled}"
        yield "calls", _calls(progress)
    for account in progress.teachers:
        counts = account.counts
        retries = number_of(counts.retries, "retry", "retries")
        calls = f"{counts.calls} sent, {retries}, {counts.reused} from the ledger"
        handed = f"{_handed(counts.to_fallback)}; " if counts.to_fallback else ""
        yield account.name, f"{counts.under_way} of {counts.at_once} under way; {calls}; {handed}{_cost(account.money)}"
    amounts = progress.money
    if amounts.spent or amounts.reserved or amounts.budget is not None or (teacher.calls and not amounts.priced):
        yield "cost", _cost(amounts)
    if samples.decisions:
        yield "choices", _choices(samples)
    if student.tokens or student.reused:
        speed = student.tokens / max(progress.seconds, 1e-9)
        reused = f", {number_of(student.reused, 'loss', 'losses')} from the ledger" if student.reused else ""
        yield "student", f"{number_of(student.tokens, 'token')}, {speed:.0f}/s{reused}"
    # Always there, so that the rows below stay in their place.
    nothing = f" (nothing new for {progress.still:.0f} s)" if progress.still >= _STILL else ""
    yield "now", (progress.waiting or "working through the samples") + nothing
    yield "time", _time(progress)


def _calls(progress: Progress) -> str:
    teacher = progress.teacher
    retries = number_of(teacher.retries, "retry", "retries")
    parts = [f"{teacher.calls} sent", retries, f"{teacher.reused} from the ledger"]
    unusable = sum(stage.unusable for stage in progress.stages)
    if unusable:
        parts.append(number_of(unusable, "unusable answer"))
    thought = f" ({teacher.reasoning_tokens} of reasoning)" if teacher.reasoning_tokens else ""
    return ", ".join([*parts, number_of(teacher.tokens, "token") + thought])


def _handed(to_fallback: Mapping[str, int]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in to_fallback.items())
    return f"{sum(to_fallback.values())} to its fallback ({kinds})"


def _cost(amounts: Money) -> str:
    if not amounts.priced:
        return money(amounts.spent, priced=False)
    parts = [f"{dollars(amounts.spent)} spent", f"{dollars(amounts.reserved)} reserved"]
    if amounts.budget is not None:
        parts.append(f"budget {dollars(amounts.budget)}")
    if amounts.saved:
        parts.append(saved(amounts.saved))
    if amounts.projected is not None:
        parts.append(f"projected {dollars(amounts.projected)}")
    return ", ".join(parts)


def _choices(samples: SampleCounts) -> str:
    current, won = samples.decisions.get("current", 0), samples.decisions.get("rewrite", 0)
    gains = ", ".join(f"{metric} {gain:+.4f}" for metric, gain in samples.gains.items())
    share = f" ({100 * won / (current + won):.0f} %)" if current + won else ""
    return f"{current + won}, {won} for the rewrite{share}" + (f"; mean gain {gains}" if gains else "")


def _time(progress: Progress) -> str:
    """Return the time gone, and the time left if it can be told."""
    gone = str(timedelta(seconds=round(progress.seconds)))
    return (
        gone
        if progress.left is None or progress.left < 1
        else f"{gone}, about {timedelta(seconds=round(progress.left))} left"
    )


class Display:
    """Display of progress on a console: redrawn in place on a terminal, a line now and then in a pipe."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._printed = time.monotonic()

    def show(self, progress: Progress, notes: Sequence[str] = ()) -> None:
        """Redraw the screen, or print a line unless one was printed a moment ago."""
        if self.console.is_terminal:
            self._draw(screen(progress, notes))
        elif time.monotonic() - self._printed >= _EVERY:
            self._printed = time.monotonic()
            self.console.print(line(" · ".join((progress_text(progress), *notes))))

    def say(self, text: str) -> None:
        """Show a line alone for as long as nothing else is shown; in a pipe, nothing."""
        if self.console.is_terminal:
            self._draw(line(text))

    def _draw(self, picture: RenderableType) -> None:
        if self._live is None:
            self._live = Live(console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        self._live.update(picture)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class ConsoleReporter:
    """The reporter of the command line."""

    def __init__(self) -> None:
        self._console = stdout()
        self._display = Display(self._console)
        self._run_dir = ""
        self._failures = 0

    @hookimpl
    def rt_preparing(self, event: Preparing) -> None:
        """Show on a terminal what is done before the run begins."""
        self._display.say(event.what)

    @hookimpl
    def rt_run_started(self, event: RunStarted) -> None:
        """Print the notes of the run and its directory."""
        self._display.close()
        self._run_dir = event.run_dir
        for note in event.notes:
            self._console.print(line(note))
        self._console.print(line(f"writing to {event.run_dir}"))

    @hookimpl
    def rt_progress(self, event: Progress) -> None:
        """Redraw the screen, or print a line now and then."""
        self._display.show(event)

    @hookimpl
    def rt_sample_failed(self, event: SampleFailed) -> None:
        """Print a failure only if it ends the sample."""
        if not event.fatal:
            return
        self._failures += 1
        if self._failures <= _FAILURES:
            self._console.print(line(f"row {event.row} ({event.sample_id}) failed in {event.stage}: {event.reason}"))
        elif self._failures == _FAILURES + 1:
            self._console.print(line("more samples fail; the summary counts them all"))

    @hookimpl
    def rt_stalled(self, event: Stalled) -> None:
        """Print the reason for the wait."""
        self._console.print(line(f"no progress for {event.seconds:.0f} s: {event.why}"))

    @hookimpl
    def rt_batch_changed(self, event: BatchChanged) -> None:
        """Print what happened to a batch of questions."""
        then = (
            ""
            if event.state == "collected"
            else "; after Ctrl-C it stays with the provider, and the same command collects it later"
        )
        self._console.print(line(f"batch {event.name}: {number_of(event.questions, 'question')} {event.state}{then}"))

    @hookimpl
    def rt_run_stopping(self, event: RunStopping) -> None:
        """Print why the run does not end at once."""
        self._console.print(line(event.reason))
        if event.left:
            stay = "question stays" if event.left == 1 else "questions stay"
            told = f"{event.left} {stay} with the provider in batches; the same command collects the answers"
            self._console.print(line(told))
        if event.under_way:
            calls = "call under way, which is" if event.under_way == 1 else "calls under way, which are"
            self._console.print(line(f"waiting for {event.under_way} {calls} paid for; Ctrl-C leaves at once"))

    @hookimpl
    def rt_run_finished(self, event: RunFinished) -> None:
        """Print the summary of a run; commands for other jobs print their results themselves."""
        self.close()
        if event.job != "run":
            return
        show_summary(self._console, event.summary)
        self._console.print(line(f"to write an HTML page: rt report {shlex.quote(self._run_dir)}"))

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._display.close()
