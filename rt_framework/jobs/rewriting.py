"""One rewrite or one answer to every sample of a data set, without selection; and a look at what would be asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from rt_framework.config import Builder, Config, Data, Limits, Output, Pipeline, ScoringConfig
from rt_framework.data import Destination, Source, beside, claim, kind_of, open_source, output_format, paths_in
from rt_framework.errors import PluginError, RtError, described
from rt_framework.events import Summary
from rt_framework.export import export_file
from rt_framework.jobs.running import RunMode, run
from rt_framework.kit.parts import Spec
from rt_framework.model import Request
from rt_framework.plugin import Host
from rt_framework.results import open_run
from rt_framework.teacher import rendered, steps_of


def rewriting_job(
    host: Host, data: Data, reflection: Spec, teacher: Spec, limits: Limits, out: Path, overwrite: bool = False
) -> Config:
    """Return the job that asks for one rewrite of every sample, after a check that *out* may be written.

    Raises:
        ConfigError: *out* must not be written.
    """
    stages = (Spec("reflect", reflection), Spec("choose", "newest"))
    return _claimed(host, Config(data, Pipeline(stages=stages), teacher=teacher, limits=limits), out, overwrite)


def answering(data: Data, settings: Mapping[str, Any], student: Spec, scoring: ScoringConfig, limits: Limits) -> Config:
    """Return the job that lets a student answer every sample.

    A sample without an answer is dropped: its old response must not be taken for the student's.

    Args:
        data: the samples.
        settings: options of the reflection ``answer``.
        student: the student that answers.
        scoring: its executor.
        limits: number of samples to read.
    """
    question = Spec("reflect", {"reflection": {"answer": settings}, "failed": "drop"})
    pipeline = Pipeline(stages=(question, Spec("choose", "newest")))
    return Config(data, pipeline, teacher=Spec("student"), student=student, scoring=scoring, limits=limits)


def answering_job(
    host: Host,
    data: Data,
    settings: Mapping[str, Any],
    student: Spec,
    scoring: ScoringConfig,
    limits: Limits,
    out: Path,
    overwrite: bool = False,
) -> Config:
    """Return the job of :func:`answering`, after a check that *out* may be written.

    Args:
        host: finds the plugins.
        data: as for :func:`answering`, and so are *settings*, *student*, *scoring* and *limits*.
        out: file of the answered samples.
        overwrite: whether an existing file that this program did not write may be replaced.

    Raises:
        ConfigError: *out* must not be written.
    """
    return _claimed(host, answering(data, settings, student, scoring, limits), out, overwrite)


def _claimed(host: Host, job: Config, out: Path, overwrite: bool) -> Config:
    """Return the job with the format of its output, which is checked to be one that may be written.

    Raises:
        ConfigError: *out* must not be written.
    """
    # The run writes in the format of OUT, so that what OUT cannot hold is known before the first call.
    source = open_source(host, job.data, job.limits.samples)
    form = output_format(host, out, source.format_name)
    kind = kind_of(Builder(host)("formats", form))
    claim([Destination(out, "--out", kind, beside(out), overwrite)], source.inputs, paths_in(job))
    return evolve(job, output=Output(format=form))


async def rewrite(
    host: Host, job: Config, out: Path, watchers: Iterable[object], overwrite: bool = False, moved: bool = False
) -> tuple[Summary, str]:
    """Run a job of :func:`rewriting_job` or :func:`answering_job` in the run directory beside *out*, and write *out*.

    Returns:
        the summary of the run, and a line that says what was written.

    Raises:
        RtError: as :func:`rt_framework.jobs.running.run`.
    """
    run_dir = beside(out)
    summary = await run(host, job, run_dir, watchers, RunMode(moved=moved))
    return summary, export_file(host, run_dir, out, overwrite=overwrite, record=run_dir)


def most_further(make: Builder, reflection: Spec) -> int:
    """Return how many further requests a reflection may send after the first one about a sample.

    Raises:
        RtError: the reflection cannot be built, or does not say how many.
    """
    return steps_of(make.spec("reflections", reflection), str(reflection)) - 1


def answered(host: Host, summary: Summary, out: Path) -> str:
    """Return a line on the answers of a job of :func:`answering_job`: their number, and what became of the others."""
    with open_run(beside(out), host) as run:
        replies = (run.reply(history.sample.current) for history in run)
        cut = sum(reply is not None and reply.finish_reason == "length" for reply in replies)
    notes = [f"{count} sample{'s' * (count != 1)} left out: {reason}" for reason, count in summary.drops.items()]
    answers = "answer was" if cut == 1 else "answers were"
    notes += [f"{cut} {answers} cut off at the largest number of tokens"] if cut else []
    return "; ".join([f"{summary.outcomes.get('rewritten', 0)} of {summary.total} samples answered", *notes])


def preview(make: Builder, source: Source, reflection: Spec, teacher: Spec | None) -> Iterator[tuple[int, Request]]:
    """Yield the row number of each sample of *source* with the first request about it. Nothing is sent.

    The further requests of a question in steps depend on answers; see :func:`most_further`.

    Args:
        make: builds the plugins.
        source: the samples.
        reflection: the question.
        teacher: decides the form of the answer; without it that is the form for one that follows a JSON schema.

    Raises:
        RtError: a part cannot be built, the data cannot be read, or the reflection cannot ask about a sample.
    """
    question = make.spec("reflections", reflection)
    structured = teacher is None or make.spec("teachers", teacher).structured
    for sample in source.samples():
        try:
            yield sample.row, rendered(question, sample.original.pair, 0, structured)
        except RtError:
            raise
        except Exception as error:
            raise PluginError(
                f"reflection '{reflection}' cannot ask about row {sample.row}: {described(error)}"
            ) from error
