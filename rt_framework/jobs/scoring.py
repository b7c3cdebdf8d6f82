"""The job of ``rt score``: one line per sample, in input order, with bounded memory."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from attrs import field, frozen

from rt_framework.config import MAIN, Builder, ScoringConfig
from rt_framework.data import Destination, Source, beside, claim, paths_in, whole
from rt_framework.errors import ConfigError, PluginError, RtError, described
from rt_framework.events import Preparing, Summary
from rt_framework.kit.effort import Visit
from rt_framework.kit.parts import Spec
from rt_framework.model import Sample, Score
from rt_framework.pipeline import PROBE, ScoringSide, scoring_side
from rt_framework.plugin import Host
from rt_framework.plugin import named as one_of
from rt_framework.rundir import (
    Meter,
    Opening,
    Session,
    in_session,
    manifest_destination,
    room,
    write_manifest,
)
from rt_framework.scoring import Measured, Scoring, ScoringRules, reads_texts_alone
from rt_framework.spans import Loss

_CHUNK = 64
"""Number of samples that are looked up together."""

_CHUNKS = 32
"""Number of chunks under way at once: enough to fill the waves in which losses are computed."""


Lines = AsyncIterator[dict[str, Any]]
"""Lines of samples, in input order."""

Take = Callable[[Lines, Sequence[Callable[[], None]]], Awaitable[None]]


@frozen
class Scorers:
    """The metrics of a scoring job, and the students whose losses they read."""

    metrics: tuple[str, ...]
    """Names of metrics; ``ifd@base`` is ``ifd`` by the losses of the student ``base``."""
    student: Spec | None = None
    """The main student; it may be left out if every metric reads texts alone or another student."""
    config: ScoringConfig = ScoringConfig()
    students: Mapping[str, Spec] = field(factory=dict)
    """Further students, by name."""
    options: Mapping[str, Spec] = field(factory=dict)
    """Metrics with options, by the name under which *metrics* has them."""

    def students_of(self, make: Builder) -> dict[str, Spec]:
        """Return the students whose losses are read, by name.

        Raises:
            PluginError: a metric is unknown or broken.
            ConfigError: a student is missing.
        """
        named: dict[str, Spec] = {}
        for metric in self.metrics:
            name, at, student = metric.partition("@")
            if reads_texts_alone(make.spec("metrics", self.options.get(name, Spec(name)))):
                if at:
                    raise ConfigError(f"metric {metric}: {name} reads no student's losses; leave @ out")
            elif at:
                named[student] = one_of("student", student, self.students)
            elif self.student is None:
                raise ConfigError(f"metric {metric} reads a student's losses: name a student")
            else:
                named[MAIN] = self.student
        return named

    def settings(self, source: Source) -> dict[str, Any]:
        """Return the settings of a scoring job, as its manifest holds them."""
        return {
            "data": str(source),
            "student": self.student,
            "students": self.students,
            "scoring": self.config,
            "metrics": self.metrics,
            "options": self.options,
        }


async def score_file(
    host: Host,
    source: Source,
    scorers: Scorers,
    out: Path,
    watchers: Sequence[object] = (),
    overwrite: bool = False,
) -> Summary:
    """Score every sample of *source* into *out*; the losses are kept beside it in ``OUT.rt``.

    A file at *out* that an earlier call wrote is replaced, any other file only with *overwrite*.

    Returns:
        the summary, with the number of samples by status as ``outcomes``.

    Raises:
        RtError: the error has an exit code; another call resumes from the losses that were committed.
    """
    destination = Destination(out, "--out", "file", beside(out), overwrite)
    return await score(host, source, scorers, beside(out), partial(_write, destination), watchers, destination)


async def score(
    host: Host,
    source: Source,
    scorers: Scorers,
    run_dir: Path,
    take: Take,
    watchers: Sequence[object] = (),
    out: Destination | None = None,
) -> Summary:
    """Score every sample of *source*, and hand over a line for each, in input order.

    Args:
        host: finds the plugins.
        source: the samples.
        scorers: the metrics and the students.
        run_dir: directory in which losses are kept.
        take: takes the lines, and calls the checks when all have come; one that raises makes them void.
        watchers: reporters of this job.
        out: file that *take* writes, if it writes one.

    Raises:
        RtError: the error has an exit code; another call resumes from the losses that were committed.
    """
    make = Builder(host)
    students = scorers.students_of(make)
    files = [] if out is None else [out]
    own = Destination(run_dir, "--out" if files else "--run-dir", "run")
    claim(
        [own, manifest_destination(run_dir, "metrics"), *files],
        source.inputs,
        paths_in(*students.values(), scorers.config),
    )
    reporters = host.reporters(watchers)
    reporters.send("rt_preparing", Preparing("counting the samples", "score"))
    source, _ = source.read_through(lambda _: None)
    settings = scorers.settings(source)
    opening = Opening(
        job="score",
        run_dir=run_dir,
        reporters=reporters,
        watchers=watchers,
        total=(total := source.count()),
        need=room(total, source.size(), teacher=False),
        steady=source.steady(),
    )

    def end(session: Session, _: None) -> Summary:
        summary = _summary(source, session, files)
        write_manifest(run_dir, host, session.ledger, settings, summary)
        return summary

    work = partial(_score, make, source, scorers, settings, take, run_dir if out is None else out.path)
    _, summary = await in_session(opening, work, end)
    return summary


def _summary(source: Source, session: Session, files: Sequence[Destination]) -> Summary:
    progress, counts = session.meter.progress(), session.meter.samples
    return Summary(
        total=session.meter.total or 0,
        outcomes=dict(sorted(counts.outcomes.items())),
        versions={},
        drops=source.faults.reasons(),
        failures=dict(counts.lacking.most_common()),
        errors=0,
        shifts=(),
        progress=progress,
        files=tuple(map(str, files)),
        unreadable=source.faults.count,
    )


async def _score(
    make: Builder,
    source: Source,
    scorers: Scorers,
    settings: Mapping[str, Any],
    take: Take,
    writes: Path,
    session: Session,
) -> None:
    """Score all samples of *source*, and hand their lines to *take*."""
    ledger, rules, metrics = session.ledger, ScoringRules.of(scorers.config), scorers.metrics
    students = scorers.students_of(make)
    async with _opened(scoring_side(make, students, scorers.config, ledger, scorers.options)) as side:
        session.meter.student = side
        if ledger.meta("frozen") is None:
            if side.by_name:
                session.preparing("loading the student")
            await side.scoring.check(PROBE, metrics)
        await session.claim({**side.facts(), "scoring": rules.facts()})
        notes = (
            f"{f'student {name}'.rstrip()}: {student}, preset {rules.preset.name}, template {rules.template}"
            for name, student in students.items()
        )
        await session.begin(writes, (*notes, *source.notes, *filter(None, (source.left_out,))), settings)
        await side.scoring.fit(metrics, lambda: (sample.original.pair for sample in source.samples()))
        # Losses from a damaged ledger, or of input that has changed meanwhile, must not replace an older file.
        checks = (ledger.check, source.check_unchanged)
        await take(_lines(source, side.scoring, metrics, session.meter), checks)


@asynccontextmanager
async def _opened(side: ScoringSide) -> AsyncIterator[ScoringSide]:
    """Close the students' side at the end of the block."""
    try:
        yield side
    finally:
        await side.close()


async def _write(destination: Destination, lines: Lines, checks: Sequence[Callable[[], None]]) -> None:
    """Write all lines or none; *checks* are called last, and one that raises leaves the destination unchanged.

    Raises:
        DiskError: the destination cannot be written.
    """
    with whole(destination) as part:
        with part.open("w", encoding="utf-8") as file:
            async for line in lines:
                file.write(json.dumps(line, allow_nan=False) + "\n")
        for check in checks:
            check()


async def _lines(source: Source, scoring: Scoring, metrics: Sequence[str], meter: Meter) -> Lines:
    """Yield a line per sample, in input order, while a window of samples is under way."""
    window: deque[_Chunk] = deque()
    samples = source.samples()
    try:
        while chunk := list(islice(samples, _CHUNK)):
            pairs = [sample.original.pair for sample in chunk]
            size = sum(len(turn.content) for pair in pairs for turn in (*pair.before, pair.last))
            visit = meter.pace.reached("", size, len(chunk))
            window.append(_Chunk(chunk, size, visit, asyncio.create_task(scoring.measure(pairs, metrics))))
            if len(window) == _CHUNKS:
                for line in await _scored(window.popleft(), meter):
                    yield line
                    meter.samples.ended(line["status"])
        while window:
            for line in await _scored(window.popleft(), meter):
                yield line
                meter.samples.ended(line["status"])
    finally:
        for waiting in window:
            waiting.task.cancel()  # asyncio then prints no error of one that has failed meanwhile


@frozen
class _Chunk:
    """Samples that are looked up together."""

    samples: list[Sample]
    size: int
    """Characters of the samples."""
    visit: Visit
    task: asyncio.Task[list[Measured]]


async def _scored(chunk: _Chunk, meter: Meter) -> list[dict[str, Any]]:
    try:
        found = await chunk.task
    except RtError:
        raise
    except Exception as error:  # an OSError is none of the output file
        raise PluginError(f"the student cannot score: {described(error)}") from error
    lacking = [next((score for score in one.scores.values() if score.value is None), None) for one in found]
    meter.samples.lacking.update(score.status for score in lacking if score is not None)
    meter.pace.left("", chunk.size, passed=True, count=len(chunk.samples), visit=chunk.visit)
    return [_line(*parts) for parts in zip(chunk.samples, found, lacking, strict=True)]


def _line(sample: Sample, measured: Measured, lacking: Score | None) -> dict[str, Any]:
    return {
        "id": sample.id,
        "row": sample.row,
        "status": status(measured),
        **({} if lacking is None else {"reason": lacking.reason or lacking.status}),
        "metrics": {name: score.value for name, score in measured.scores.items()},
        "losses": {name: _loss(loss) for name, loss in measured.losses.items()},
    }


def status(measured: Measured) -> str:
    """Return ``ok`` if all scores have a number, ``partial`` if some loss has, else the first missing one's status."""
    scores = measured.scores.values()
    if all(score.value is not None for score in scores):
        return "ok"
    if any(loss.status == "ok" for loss in measured.losses.values()):
        return "partial"
    return next(score.status for score in scores if score.value is None)


def _loss(loss: Loss) -> Mapping[str, Any]:
    line: dict[str, Any] = {"nll": loss.nll, "tokens": loss.tokens}
    if loss.nll is None:
        line["reason"] = loss.reason or "counted only"
    if len(loss.parts) > 1:
        line["turns"] = [{"nll": part.nll, "tokens": part.tokens} for part in loss.parts]
    return line
