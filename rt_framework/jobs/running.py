"""A whole job: check all that can be checked at no cost, run, write the outputs, account for every sample."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from rt_framework.config import MAIN_TEACHER, Config
from rt_framework.data import Source
from rt_framework.errors import DataError, RtError
from rt_framework.events import Preparing, Summary
from rt_framework.kit.places import in_words
from rt_framework.ledger import LONGEST_BATCH, Ledger
from rt_framework.pipeline import (
    PROBE,
    Chains,
    Columns,
    Engine,
    Opened,
    ScoringSide,
    TeacherSides,
    columns_of,
    metrics_of,
    open_job,
    provided_by,
    reflection_facts,
    scoring_side,
    stage_facts,
    teacher_sides,
    vectors_of,
)
from rt_framework.plugin import Host
from rt_framework.rundir import (
    LEDGER,
    MeteredStage,
    Opening,
    Reviews,
    Session,
    check_elsewhere,
    check_run,
    claim_outputs,
    count_reviews,
    in_session,
    is_place,
    looking_elsewhere,
    pilot_dir,
    read_reviews,
    room,
    summarise,
    with_unread,
    write_manifest,
    write_outputs,
)
from rt_framework.scoring import ScoringRules


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
    job: str = "run"
    """Name of the job in the events. The console prints no summary of a job with another name than ``run``."""


async def run(
    host: Host,
    config: Config,
    run_dir: Path,
    watchers: Iterable[object] = (),
    mode: RunMode = RunMode(),
    source: Source | None = None,
) -> Summary:
    """Run the job of a run directory, or resume it.

    Args:
        host: finds the plugins.
        config: the job.
        run_dir: directory of ledger and outputs.
        watchers: reporters of this run.
        mode: differences from an ordinary run.
        source: the samples, where they are rows in memory; those that the config names when left out.

    Returns:
        the summary of the run; everything is on disk by then.

    Raises:
        RtError: the error has an exit code; committed results stay, and the next run resumes there.
    """
    if (mode.retry or not mode.ask) and not (run_dir / LEDGER).is_file():
        check_run(run_dir)  # reports a ledger that was there and is lost
        raise DataError(f"{run_dir}: no run was started in this directory; 'rt run' starts one")
    watchers = list(watchers)
    job = claimed_job(host, config, run_dir, watchers, mode.pilot is not None, source)
    if mode.pilot is not None:
        job = evolve(job, source=job.source.drawing(mode.pilot, mode.seed))
    opening = _opening(host, job, run_dir, watchers, mode.job)

    def end(session: Session, _: None) -> Summary:
        out = run_dir if mode.pilot is None else pilot_dir(run_dir)
        summary = summarise(session.ledger, session.meter.progress())
        if summary.total != opening.total:
            raise RtError(
                f"{opening.total} samples were read but {summary.total} are accounted for; "
                "this is a bug in rt-framework"
            )
        files, faults = write_outputs(job.outlet, job.source, out, session.ledger)
        reviews = count_reviews(read_reviews(run_dir), session.ledger)
        summary = with_unread(evolve(summary, files=files, reviews=reviews), faults)
        write_manifest(out, host, session.ledger, config, summary)
        return summary

    _, summary = await in_session(opening, partial(_work, job, config, run_dir, mode), end)
    return summary


def claimed_job(
    host: Host,
    config: Config,
    run_dir: Path,
    watchers: Iterable[object],
    pilot: bool,
    source: Source | None = None,
) -> Opened:
    """Open the job of a run, and claim all that the run will write.

    Raises:
        RtError: as :func:`rt_framework.rundir.claim_outputs` and :func:`rt_framework.pipeline.open_job`.
    """
    return open_job(host, config, partial(claim_outputs, config, run_dir, watchers=watchers, pilot=pilot), source)


def _opening(host: Host, job: Opened, run_dir: Path, watchers: Sequence[object], name: str) -> Opening:
    """Return what the session of a run needs; the samples are counted here, if they were not yet."""
    reporters = host.reporters(watchers)
    reporters.send("rt_preparing", Preparing("counting the samples", name))
    total = job.source.count()
    return Opening(
        job=name,
        run_dir=run_dir,
        reporters=reporters,
        watchers=watchers,
        total=total,
        need=room(total, job.source.size(), bool(job.teachers)),
        steady=job.source.steady(),
        stages=[
            MeteredStage(step.id, step.name, bool(step.stage.reflections), tuple(step.stage.needs), step.barrier)
            for step in job.steps
        ],
    )


async def _work(job: Opened, config: Config, run_dir: Path, mode: RunMode, session: Session) -> None:
    """Build the student's and the teacher's side, take all samples through the stages, and close both sides."""
    reviews = read_reviews(run_dir)
    async with AsyncExitStack() as stack:
        facts: dict[str, Any] = {"data": job.source.facts()}
        scoring = await _scoring(job, config, session, stack)
        vectors = vectors_of(job.steps, scoring, session.ledger, config.scoring.batch_tokens)
        elsewhere = stack.enter_context(looking_elsewhere(config.answers))
        teachers = _teachers(job, config, session, mode.ask, scoring, tuple(elsewhere.values()), stack)
        if scoring.by_name:
            facts |= {**scoring.facts(), "scoring": ScoringRules.of(config.scoring).facts()}
        if teachers.by_name:
            facts |= {**teachers.facts(), **reflection_facts(job.steps)}
            if not mode.ask:  # no request is sent, so the teachers' places do not matter
                facts = {name: fact for name, fact in facts.items() if not is_place(name)}
        check_elsewhere(elsewhere, facts, mode.moved)
        interrupted = await session.claim(facts, mode.moved)
        await session.ledger.set_meta("stages", stage_facts(job.steps))
        if mode.ask:
            await teachers.remember_prices(session.ledger)
        withdrawn = await session.ledger.calls.withdraw(mode.retry)
        if "batch_lost" in mode.retry:
            withdrawn += await session.ledger.batches.give_up_lost(time.time() - LONGEST_BATCH)
        await session.ledger.samples.forget()
        taken_up = _taken_up(interrupted, config.limits.on_ambiguous, withdrawn, mode, reviews)
        await session.begin(run_dir, (*_notes(config, job, facts), *taken_up), config)
        columns = stack.enter_context(closing(Columns(columns_of(job.steps))))
        provided = provided_by(job.steps)
        exhaustive = config.pipeline.exhaustive
        chains = Chains(teachers.clients, scoring.scoring, exhaustive, provided, columns, vectors, reviews)
        in_flight = min(config.limits.at_once(teachers.batched), session.meter.total or 1)
        await Engine(job.steps, chains, session.ledger, session.meter, in_flight).go(columns.of(job.source))


async def _scoring(job: Opened, config: Config, session: Session, stack: AsyncExitStack) -> ScoringSide:
    side = scoring_side(job.make, job.students, config.scoring, session.ledger, config.metrics)
    stack.push_async_callback(side.close)
    if side.by_name:
        session.meter.student = side
    if session.ledger.meta("frozen") is None:  # later the losses in the ledger are proof enough
        if side.by_name:
            session.preparing("loading the student")
        await side.scoring.check(PROBE, metrics_of(job.steps))
    return side


def _teachers(
    job: Opened,
    config: Config,
    session: Session,
    ask: bool,
    scoring: ScoringSide,
    elsewhere: Sequence[Ledger],
    stack: AsyncExitStack,
) -> TeacherSides:
    # While losses are computed, samples will go on and may ask more questions, which one batch should hold too.
    limits = evolve(config.limits, budget_usd=config.share_of(config.limits.budget_usd))
    sides = teacher_sides(job.make, job.teachers, limits, session, ask, scoring.busy, elsewhere, scoring.by_name)
    stack.push_async_callback(sides.close)
    return sides


def _notes(config: Config, job: Opened, facts: Mapping[str, Any]) -> tuple[str, ...]:
    notes = []
    for name, teacher in job.teachers.items():
        live = "recorded answers" if teacher.part.name == "replay" else "live"
        called = f"teacher {name}".rstrip()
        place = facts.get(f"place {name}".rstrip())
        asked_at = f", asked at {in_words([place])}" if place else ""
        fallback = "" if teacher.fallback is None else f"; its fallback is {teacher.fallback or MAIN_TEACHER}"
        notes.append(f"{called}: {teacher.part} ({live}){asked_at}{fallback}")
    framing = ScoringRules.of(config.scoring)
    for name, student in job.students.items():
        called = f"student {name}".rstrip()
        notes.append(f"{called}: {student}, preset {framing.preset.name}, template {framing.template}")
    left_out = job.source.left_out
    if left_out and not job.outlet.holds_all:
        left_out += ". The output has another shape or format, so they stand in scores.jsonl alone, with the reason"
    return (*notes, *job.source.notes, *filter(None, (left_out, config.pipeline.unchosen)))


def _taken_up(interrupted: int, on_ambiguous: str, withdrawn: int, mode: RunMode, reviews: Reviews) -> Iterator[str]:
    """Yield notes on what this run takes up from an earlier one, and from people."""
    if interrupted:
        then = {
            "retry": "those still needed are asked again",
            "hold": "they are on hold until 'rt retry --kind interrupted_unknown'",
        }[on_ambiguous]
        yield (
            f"teacher calls under way when the last run was killed: {interrupted}. Their answers are unknown, "
            f"their cost is charged, and {then}"
        )
    if mode.pilot is not None:
        yield f"pilot: {mode.pilot} rows drawn at random, seed {mode.seed}"
    if mode.retry:
        yield f"{withdrawn} rewrites that failed as {', '.join(mode.retry)} are asked for again"
    vetoes = sum(review.verdict == "veto" for review in reviews)
    if vetoes:
        yield f"rewrites that people vetoed: {vetoes:,}; their samples keep the original texts"
    if not mode.ask:
        yield "the stored answers are parsed again, and the teacher is not asked"
