"""One rewrite of every sample of a data set, without selection; and a look at what would be asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from rt_framework.config import Builder, Config, Data, Limits, Output, Pipeline
from rt_framework.data import Destination, Source, beside, claim, kind_of, open_source, output_format, paths_in
from rt_framework.errors import PluginError, RtError, described
from rt_framework.events import Summary
from rt_framework.export import export_file
from rt_framework.jobs.running import RunMode, run
from rt_framework.kit.parts import Spec
from rt_framework.model import Request
from rt_framework.plugin import Host
from rt_framework.teacher import rendered, steps_of


def rewriting_job(
    host: Host, data: Data, reflection: Spec, teacher: Spec, limits: Limits, out: Path, overwrite: bool = False
) -> Config:
    """Return the job that asks for one rewrite of every sample, after a check that *out* may be written.

    Raises:
        ConfigError: *out* must not be written.
    """
    # The run writes in the format of OUT, so that what OUT cannot hold is known before the first call.
    source = open_source(host, data, limits.samples)
    form = output_format(host, out, source.format_name)
    job = Config(
        data=data,
        pipeline=Pipeline(stages=(Spec("reflect", reflection), Spec("choose", "newest"))),
        teacher=teacher,
        limits=limits,
        output=Output(format=form),
    )
    kind = kind_of(Builder(host)("formats", form))
    claim([Destination(out, "--out", kind, beside(out), overwrite)], source.inputs, paths_in(job))
    return job


async def rewrite(
    host: Host, job: Config, out: Path, watchers: Iterable[object], overwrite: bool = False, moved: bool = False
) -> tuple[Summary, str]:
    """Run a job of :func:`rewriting_job` in the run directory beside *out*, and write *out*.

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
