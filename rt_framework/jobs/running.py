"""A whole job: check all that can be checked at no cost, run, write the outputs, account for every sample."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from rt_framework.concurrency import StopSignal, interruptible
from rt_framework.config import Config
from rt_framework.data import Source
from rt_framework.errors import DataError, RtError
from rt_framework.events import RunFailed, RunFinished, RunStarted, Summary
from rt_framework.kit.places import in_words
from rt_framework.ledger import LONGEST_BATCH, Ledger
from rt_framework.pipeline import (
    PROBE,
    Opened,
    Run,
    ScoringRules,
    goes_in_batches,
    open_job,
    reflection_facts,
    remember_prices,
    stage_facts,
    student_side,
    teacher_facts,
    teacher_side,
)
from rt_framework.plugin import Host, Reporters, Tally, close_reporters
from rt_framework.rundir import (
    LEDGER,
    check_run,
    claim_outputs,
    freeze,
    heartbeat,
    open_run,
    pilot_dir,
    plain_config,
    remember_run,
    room,
    summarise,
    watchdog,
    write_manifest,
    write_outputs,
)
from rt_framework.text import without_secrets


@frozen
class RunMode:
    """Differences of a run from an ordinary one."""

    ask: bool = True
    """True if the teacher may be asked; otherwise the ledger's answers are parsed again and nothing is sent."""
    retry: tuple[str, ...] = ()
    """Kinds of failure of the last run whose questions are asked again."""
    pilot: int | None = None
    """Number of rows to run, drawn at random, with outputs in a folder of their own; ``None`` runs all rows."""
    seed: int = 0
    """Seed of the draw of these rows."""
    moved: bool = False
    """True if the teacher may be asked at another place (provider or server) than the run directory has recorded."""


async def run(
    host: Host, config: Config, run_dir: Path, watchers: Iterable[object] = (), manner: RunMode = RunMode()
) -> Summary:
    """Run the job of a run directory, or go on with it.

    Args:
        host: finds the plugins.
        config: the job.
        run_dir: directory of ledger and outputs.
        watchers: reporters of this run.
        manner: differences from an ordinary run.

    Returns:
        the summary of the run; everything is on disk by then.

    Raises:
        RtError: the error has an exit code; committed results stay, and the next run goes on from there.
    """
    if (manner.retry or not manner.ask) and not (run_dir / LEDGER).is_file():
        check_run(run_dir)  # reports a ledger that was there and is lost
        raise DataError(f"{run_dir}: there is no run here to take up; 'rt run' begins one")
    watchers = list(watchers)
    job = claimed_job(host, config, run_dir, watchers, manner.pilot is not None)
    if manner.pilot is not None:
        job = evolve(job, source=job.source.drawing(manner.pilot, manner.seed))
    total = job.source.count()
    reporters = host.reporters(watchers)
    need = room(total, job.source.size(), config.teacher is not None)
    with _told(reporters), open_run(run_dir, need) as ledger, job.source.steady():
        asks = {step.name: bool(step.stage.reflections) for step in job.steps}
        tally, breaker = Tally(reporters, total, asks), StopSignal()
        work = _run(job, config, run_dir, ledger, tally, breaker, manner)
        await interruptible(work, breaker.trip, partial(_leave, ledger, watchers))
        out = run_dir if manner.pilot is None else pilot_dir(run_dir)
        summary = summarise(ledger, tally)
        if summary.total != total:
            raise RtError(f"{total} samples were read but {summary.total} are accounted for; this is a fault of ours")
        summary = evolve(summary, files=write_outputs(job.outlet, job.source, out, ledger))
        write_manifest(out, host, ledger, config, summary, stage_facts(job.steps))
    reporters.send("rt_run_finished", RunFinished(summary))
    return summary


def claimed_job(host: Host, config: Config, run_dir: Path, watchers: Iterable[object], pilot: bool) -> Opened:
    """Open the job of a run, and claim all that the run will write.

    Raises:
        RtError: as :func:`rt_framework.rundir.claim_outputs` and :func:`rt_framework.pipeline.open_job`.
    """
    return open_job(host, config, partial(claim_outputs, config, run_dir, watchers=watchers, pilot=pilot))


async def _run(
    job: Opened,
    config: Config,
    run_dir: Path,
    ledger: Ledger,
    tally: Tally,
    breaker: StopSignal,
    manner: RunMode,
) -> None:
    """Build the teacher's and the student's side, run the pipeline, and close both sides."""
    waits: list[Callable[[], str]] = []
    tally.why = lambda: "; ".join(why() for why in waits)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(heartbeat(tally, run_dir))
        facts: dict[str, Any] = {"data": job.source.facts()}
        teaching = scoring = asked = None
        batched = False
        if config.student is not None:
            side = student_side(job.make, config.student, config.scoring, ledger, tally)
            stack.push_async_callback(side.close)
            scoring = side.scoring
            waits.append(side.why)
            if ledger.meta("frozen") is None:  # later the losses in the ledger are proof enough
                await scoring.check(PROBE, sorted({metric for step in job.steps for metric in step.stage.needs}))
            facts |= {"student": side.student.fingerprint, "scoring": ScoringRules.of(config.scoring).facts()}
        if config.teacher is not None:
            asked = teacher_side(job.make, config.teacher, ledger, config.limits, tally, breaker, manner.ask)
            stack.push_async_callback(asked.calls.close)
            teaching, batched = asked.teaching, goes_in_batches(asked.teacher)
            waits.append(asked.calls.why)
            facts |= {**teacher_facts(asked.teacher), **reflection_facts(job.steps)}
            if not manner.ask:
                facts.pop("place", None)  # no request is sent, so the teacher's place does not matter
        # Nothing is written before this: the directory may be another job's.
        await freeze(ledger, run_dir, facts, manner.moved)
        interrupted = await ledger.attempts.settle_interrupted()
        if asked is not None and manner.ask:
            await remember_prices(ledger, asked.teacher)
        stack.push_async_callback(lambda: remember_run(ledger, tally.progress()))
        withdrawn = await ledger.calls.withdraw(manner.retry)
        if "batch_lost" in manner.retry:
            withdrawn += await ledger.batches.give_up_lost(time.time() - LONGEST_BATCH)
        await ledger.samples.forget()
        notes = (
            *_notes(config, job.source, facts.get("place")),
            *_taken_up(interrupted, config.limits.on_ambiguous, withdrawn, manner),
        )
        who, frozen = ledger.meta("run_id"), ledger.meta("frozen")
        started = RunStarted(str(run_dir), notes, tally.total, who, plain_config(config), frozen)
        tally.begin(started)
        await stack.enter_async_context(watchdog(tally))
        at_once = min(config.limits.at_once(batched), tally.total or 1)
        work = Run(job.steps, teaching, scoring, ledger, tally, at_once, config.pipeline.exhaustive)
        await work.go(job.source.samples())


def _leave(ledger: Ledger, watchers: Sequence[object]) -> None:
    """Prepare an immediate exit: commit the answers that have arrived, and let the reporters restore the terminal."""
    ledger.flush(1.0)
    close_reporters(watchers)


@contextmanager
def _told(reporters: Reporters) -> Iterator[None]:
    """Tell reporters if the block ends with an error."""
    try:
        yield
    except Exception as error:
        reporters.send("rt_run_failed", RunFailed(type(error).__name__, without_secrets(str(error))))
        raise


def _notes(config: Config, source: Source, place: str | None) -> tuple[str, ...]:
    notes = []
    if config.teacher is not None:
        live = "recorded answers" if config.teacher.name == "replay" else "live"
        notes.append(f"teacher: {config.teacher} ({live}){f', asked at {in_words([place])}' if place else ''}")
    if config.student is not None:
        framing = ScoringRules.of(config.scoring)
        notes.append(f"student: {config.student}, preset {framing.preset.name}, template {framing.template}")
    return (*notes, f"data: {source}")


def _taken_up(interrupted: int, on_ambiguous: str, withdrawn: int, manner: RunMode) -> Iterator[str]:
    """Yield notes on what this run takes up from an earlier one."""
    if interrupted:
        then = {
            "retry": "those still needed are asked again",
            "hold": "they are held back until 'rt retry --kind interrupted_unknown'",
        }[on_ambiguous]
        yield (
            f"teacher calls under way when the last run was killed: {interrupted}. Their answers are unknown, "
            f"their cost is charged, and {then}"
        )
    if manner.pilot is not None:
        yield f"pilot: {manner.pilot} rows drawn at random, seed {manner.seed}"
    if manner.retry:
        yield f"{withdrawn} rewrites that failed as {', '.join(manner.retry)} are asked for again"
    if not manner.ask:
        yield "answers are read anew, and the teacher is not asked"
