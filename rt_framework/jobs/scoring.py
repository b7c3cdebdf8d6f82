"""The job of ``rt score``: one line per sample, in input order, with bounded memory."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rt_framework.config import Builder, ScoringConfig
from rt_framework.data import Destination, Source, beside, claim, paths_in, whole
from rt_framework.errors import PluginError
from rt_framework.events import Progress, RunStarted
from rt_framework.kit.parts import Spec
from rt_framework.model import Sample
from rt_framework.pipeline import PROBE, ScoringRules, student_side
from rt_framework.plugin import Host, Tally
from rt_framework.rundir import freeze, heartbeat, manifest_destination, open_run, plain_config, room, write_manifest
from rt_framework.scoring import Measured, Scoring
from rt_framework.spans import Loss

_CHUNK = 64
"""Number of samples that are looked up together."""

_CHUNKS = 32
"""Number of chunks under way at once: enough to fill the waves in which losses are computed."""


async def score_file(
    host: Host,
    source: Source,
    student: Spec,
    config: ScoringConfig,
    metrics: Sequence[str],
    out: Path,
    watchers: Sequence[object] = (),
    overwrite: bool = False,
) -> Progress:
    """Score every sample of *source* into *out*; the losses are kept beside it in ``OUT.rt``.

    Returns:
        counts of the work done, with the number of samples by status as ``outcomes``.

    A file at *out* that an earlier call wrote is replaced, any other file only with *overwrite*.

    Raises:
        RtError: the error has an exit code; another call goes on from the losses that were committed.
    """
    make = Builder(host)
    for metric in metrics:
        make("metrics", metric)
    run_dir = beside(out)
    destination = Destination(out, "--out", "file", run_dir, overwrite)
    destinations = [Destination(run_dir, "--out", "run"), manifest_destination(run_dir, "metrics"), destination]
    claim(destinations, [source.path], paths_in(student, config))
    source, _ = source.read_through(lambda _: None)
    total = source.count()
    tally = Tally(host.reporters(watchers), total)
    with open_run(run_dir, room(total, source.size(), teacher=False)) as ledger, source.steady():
        side = student_side(make, student, config, ledger, tally)
        try:
            framing = ScoringRules.of(config)
            if ledger.meta("frozen") is None:
                await side.scoring.check(PROBE, metrics)
            await freeze(ledger, run_dir, {"student": side.student.fingerprint, "scoring": framing.facts()})
            notes = (
                f"student: {student}, preset {framing.preset.name}, template {framing.template}",
                f"data: {source}",
            )
            asked = {"data": str(source), "student": student, "scoring": config, "metrics": metrics}
            who, frozen = ledger.meta("run_id"), ledger.meta("frozen")
            started = RunStarted(str(out), notes, tally.total, who, plain_config(asked), frozen)
            tally.begin(started)
            async with heartbeat(tally, run_dir):
                await side.scoring.fit(metrics, lambda: (sample.original.pair for sample in source.samples()))
                # Losses from a damaged ledger, or of input that has changed meanwhile, must not replace an older file.
                checks = (ledger.check, source.check_unchanged)
                await _write(_lines(source, side.scoring, metrics), destination, tally, checks)
            write_manifest(run_dir, host, ledger, asked, tally.progress())
            return tally.progress()
        finally:
            await side.close()


async def _write(
    lines: AsyncIterator[dict[str, Any]], destination: Destination, tally: Tally, checks: Sequence[Callable[[], None]]
) -> None:
    """Write all lines or none; *checks* are called last, and one that raises leaves the destination unchanged.

    Raises:
        DiskError: the destination cannot be written.
    """
    with whole(destination) as part:
        with part.open("w", encoding="utf-8") as file:
            async for line in lines:
                file.write(json.dumps(line, allow_nan=False) + "\n")
                tally.finished += 1
                tally.outcomes[line["status"]] += 1
                tally.changed()
        for check in checks:
            check()


async def _lines(source: Source, scoring: Scoring, metrics: Sequence[str]) -> AsyncIterator[dict[str, Any]]:
    """Yield a line per sample, in input order, while a window of samples is under way."""
    window: deque[tuple[list[Sample], asyncio.Task[list[Measured]]]] = deque()
    samples = source.samples()
    try:
        while chunk := list(islice(samples, _CHUNK)):
            pairs = [sample.original.pair for sample in chunk]
            window.append((chunk, asyncio.create_task(scoring.measure(pairs, metrics))))
            if len(window) == _CHUNKS:
                for line in await _chunk(*window.popleft()):
                    yield line
        while window:
            for line in await _chunk(*window.popleft()):
                yield line
    finally:
        for _, task in window:
            task.cancel()


async def _chunk(samples: Sequence[Sample], task: asyncio.Task[list[Measured]]) -> list[dict[str, Any]]:
    try:
        found = await task
    except OSError as error:  # not an error of the output file
        raise PluginError(f"the student cannot score: {type(error).__name__}: {error}") from error
    return [_line(sample, measured) for sample, measured in zip(samples, found, strict=True)]


def _line(sample: Sample, measured: Measured) -> dict[str, Any]:
    lacking = next((score for score in measured.scores.values() if score.value is None), None)
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
