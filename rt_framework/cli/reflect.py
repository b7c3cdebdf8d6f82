"""The command ``rt reflect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from rt_framework.cli.data_options import data_options, overwrite_option
from rt_framework.cli.numbers import Whole
from rt_framework.cli.plugin_options import ChoosingCommand, chosen
from rt_framework.cli.run_options import moved_option
from rt_framework.errors import PluginError, RtError
from rt_framework.kit.parts import Spec
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.config import Data


@click.command(cls=ChoosingCommand, choices={"teacher": "teachers", "reflection": "reflections"})
@data_options
@click.option("--teacher", metavar="NAME:MODEL", help="Teacher that rewrites: litellm:PROVIDER/MODEL, hf:MODEL, …")
@click.option("--reflection", default="instruction", show_default=True, help="Reflection: what to rewrite.")
@click.option(
    "--prompt",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Prompt file to ask by: short for --reflection prompt:FILE.",
)
@click.option("--show", is_flag=True, help="Only show what would be asked about a few rows; send and write nothing.")
@click.option("-n", "--rows", type=Whole(1), default=3, show_default=True, help="Number of random rows for --show.")
@click.option("--seed", type=Whole(), default=0, show_default=True, help="Seed of their draw.")
@click.option("--concurrency", type=Whole(1), default=32, show_default=True, help="Largest number of calls under way.")
@click.option("--out", type=click.Path(path_type=Path), help="File for the rewritten data; answers are kept in OUT.rt.")
@overwrite_option
@moved_option
@click.pass_obj
def command(
    host: Host,
    data: Data,
    limit: int | None,
    teacher: str | None,
    reflection: str,
    prompt: Path | None,
    show: bool,
    rows: int,
    seed: int,
    concurrency: int,
    out: Path | None,
    overwrite: bool,
    moved: bool,
) -> int:
    """Ask the teacher for one rewrite of every sample of DATA. Where a rewrite fails the original is kept.

    With --show the messages for a few random rows are printed instead, and neither --teacher nor --out is needed.

    The options of the named plugins are options too: 'rt reflect --teacher litellm:MODEL --help' lists
    --teacher-api-base and others.
    """
    question = _question(reflection, prompt)
    asked = None if teacher is None else chosen("teacher", teacher)
    if show:
        return _show(host, data, limit, question, asked, rows, seed)
    if asked is None or out is None:
        missing = "--teacher" if asked is None else "--out"
        raise click.UsageError(f"Missing option '{missing}'.", click.get_current_context())
    if _is_given("rows") or _is_given("seed"):
        why = "-n and --seed are for --show; --limit N rewrites the first N rows"
        raise click.UsageError(why, click.get_current_context())
    return _rewrite(host, data, limit, question, asked, concurrency, out, overwrite, moved)


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _question(reflection: str, prompt: Path | None) -> Spec:
    """Return the reflection that the options name."""
    spec = chosen("reflection", reflection)
    if prompt is None:
        return spec
    if _is_given("reflection") or spec.options is not None:
        why = "--prompt FILE is short for --reflection prompt:FILE; with options of it give the long form"
        raise click.UsageError(why, click.get_current_context())
    return Spec("prompt", {"file": str(prompt)})


def _show(
    host: Host, data: Data, limit: int | None, reflection: Spec, teacher: Spec | None, rows: int, seed: int
) -> int:
    """Print the requests about random rows, in the form for the teacher, or for one that follows a JSON schema."""
    from rt_framework.config import Builder
    from rt_framework.data import open_source
    from rt_framework.teacher import rendered
    from rt_framework.terminal import line, show_prompts, stdout

    make = Builder(host)
    question = make.spec("reflections", reflection)
    structured = teacher is None or make.spec("teachers", teacher).structured
    requests = []
    for sample in open_source(host, data, limit).drawing(rows, seed).samples():
        try:
            requests.append((sample.row, rendered(question, sample.original.pair, 0, structured)))
        except RtError:
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise PluginError(f"reflection '{reflection}' cannot ask about row {sample.row}: {told}") from error
    show_prompts(requests)
    form = "a teacher that follows a JSON schema; --teacher shows the form for another" if teacher is None else teacher
    stdout().print(line(f"{len(requests)} rows, drawn at random with seed {seed}, as for {form}"))
    stdout().print(line("nothing was sent or written"))
    return 0


def _rewrite(
    host: Host,
    data: Data,
    limit: int | None,
    reflection: Spec,
    teacher: Spec,
    concurrency: int,
    out: Path,
    overwrite: bool,
    moved: bool,
) -> int:
    """Ask for the rewrites in the run directory that goes with *out*, and write them; return the exit code."""
    import asyncio

    from rt_framework.cli.reporter_options import watching
    from rt_framework.config import Builder, Config, Limits, Output, Pipeline
    from rt_framework.data import Destination, beside, claim, find_format, kind_of, output_format, paths_in
    from rt_framework.export import export_file
    from rt_framework.jobs.running import RunMode, run
    from rt_framework.text import shown

    # The run writes in the format of OUT, so that what OUT cannot hold is known before the first call.
    form = output_format(host, out, find_format(host, Path(data.path), data.format)[0])
    job = Config(
        data=data,
        pipeline=Pipeline(stages=(Spec("reflect", reflection), Spec("choose", "newest"))),
        teacher=teacher,
        limits=Limits(concurrency=concurrency, samples=limit),
        output=Output(format=form),
    )
    run_dir = beside(out)
    kind = kind_of(Builder(host)("formats", form))
    claim([Destination(out, "--out", kind, run_dir, overwrite)], [Path(data.path)], paths_in(job))
    with watching(host, ["console"]) as watchers:
        summary = asyncio.run(run(host, job, run_dir, watchers, RunMode(moved=moved)))
    click.echo(shown(export_file(host, run_dir, out, overwrite=overwrite, record=run_dir)))
    return int(job.limits.too_many(summary.errors, summary.total))
