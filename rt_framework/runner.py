"""The whole job: check everything that can be checked for nothing, run, write, account."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rt_framework.assembly import (
    PROBE,
    Framing,
    check_parts,
    reflection_facts,
    steps_of,
    student_side,
    teacher_side,
)
from rt_framework.config import Builder, Config
from rt_framework.errors import RtError
from rt_framework.events import RunFinished, RunStarted, Summary
from rt_framework.host import Host
from rt_framework.ledger import Ledger
from rt_framework.manifest import write_manifest
from rt_framework.outputs import check_output, write_outputs
from rt_framework.pipeline import Run, Step
from rt_framework.report import summarise
from rt_framework.rundir import freeze, open_run
from rt_framework.source import Source, open_source
from rt_framework.tally import Tally


async def run(host: Host, config: Config, run_dir: Path, watchers: Iterable[object] = ()) -> Summary:
    """Run, or go on with, the job of a run directory.

    Args:
        host: finds the plugins.
        config: the job.
        run_dir: where ledger and outputs go.
        watchers: reporters of this run.

    Returns:
        how it ended; everything is on disk.

    Raises:
        RtError: with an exit code; what was committed stays and running again goes on from there.
    """
    make = Builder(host)
    steps = steps_of(make, config.pipeline.specs)
    check_parts(make, steps, config.teacher, config.student)
    source = open_source(host, config.data, config.limits.samples)
    check_output(make, config.output, source)
    total = source.count()
    reporters = host.reporters(watchers)
    with open_run(run_dir) as ledger:
        tally = Tally(reporters, total, len(steps))
        await _run(make, config, steps, source, run_dir, ledger, tally)
        files = write_outputs(make, config.output, source, run_dir, ledger)
        summary = summarise(ledger, tally, files)
        if summary.total != total:
            raise RtError(f"{total} samples were read but {summary.total} are accounted for; this is a fault of ours")
        write_manifest(run_dir, ledger, config, summary)
    reporters.send("rt_run_finished", RunFinished(summary))
    return summary


async def _run(
    make: Builder, config: Config, steps: list[Step], source: Source, run_dir: Path, ledger: Ledger, tally: Tally
) -> None:
    """Build what asks and scores, run the pipeline, and free it all again."""
    interrupted = await ledger.settle_interrupted()
    async with AsyncExitStack() as stack:
        facts: dict[str, Any] = {
            "data": {"content": source.content_hash(), "shape": source.shape, "columns": source.columns}
        }
        teaching = scoring = None
        if config.student is not None:
            side = student_side(make, config.student, config.scoring, ledger, tally)
            stack.push_async_callback(side.close)
            scoring = side.scoring
            if ledger.meta("frozen") is None:  # later the losses in the ledger are proof enough
                await scoring.check(PROBE, sorted({metric for step in steps for metric in step.stage.needs}))
            facts |= {"student": side.student.fingerprint, "scoring": Framing.of(config.scoring).facts()}
        if config.teacher is not None:
            teaching = teacher_side(make, config.teacher, ledger, config.limits, tally)
            stack.push_async_callback(teaching.close)
            facts |= {"teacher": teaching.identity, **reflection_facts(steps)}
        await freeze(ledger, run_dir, facts)
        await ledger.forget_samples()
        notes = _notes(config, source, interrupted)
        tally.reporters.send("rt_run_started", RunStarted(str(run_dir), notes, tally.total))
        job = Run(steps, teaching, scoring, ledger, tally, config.limits.in_flight, config.pipeline.exhaustive)
        await job.go(source.samples())


def _notes(config: Config, source: Source, interrupted: int) -> tuple[str, ...]:
    notes = []
    if config.teacher is not None:
        live = "recorded answers" if config.teacher.name == "replay" else "live"
        notes.append(f"teacher: {config.teacher} ({live})")
    if config.student is not None:
        framing = Framing.of(config.scoring)
        notes.append(f"student: {config.student}, preset {framing.preset.name}, template {framing.template}")
    notes.append(f"data: {source}")
    if interrupted:
        notes.append(
            f"{interrupted} teacher calls were under way when the last run was killed: their answers are unknown, "
            "their cost is charged, and those still needed are asked again"
        )
    return tuple(notes)
