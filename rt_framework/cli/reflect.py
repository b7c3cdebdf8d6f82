"""The command ``rt reflect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rt_framework.cli.data_options import data_options, overwrite_option
from rt_framework.cli.numbers import Whole
from rt_framework.cli.plugin_options import ChoosingCommand, chosen
from rt_framework.cli.run_options import moved_option
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.config import Data


@click.command(cls=ChoosingCommand, choices={"teacher": "teachers", "reflection": "reflections"})
@data_options
@click.option(
    "--teacher", required=True, metavar="NAME:MODEL", help="Teacher that rewrites: litellm:PROVIDER/MODEL, hf:MODEL, …"
)
@click.option("--reflection", default="instruction", show_default=True, help="Reflection: what to rewrite.")
@click.option("--concurrency", type=Whole(1), default=32, show_default=True, help="Largest number of calls under way.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="File for the rewritten data; answers are kept in OUT.rt.",
)
@overwrite_option
@moved_option
@click.pass_obj
def command(
    host: Host,
    data: Data,
    limit: int | None,
    teacher: str,
    reflection: str,
    concurrency: int,
    out: Path,
    overwrite: bool,
    moved: bool,
) -> int:
    """Ask the teacher for one rewrite of every sample of DATA. Where a rewrite fails the original is kept.

    The options of the named plugins are options too: 'rt reflect --teacher litellm:MODEL --help' lists
    --teacher-api-base and others.
    """
    import asyncio

    from rt_framework.cli.reporter_options import watching
    from rt_framework.config import Builder, Config, Limits, Output, Pipeline
    from rt_framework.data import Destination, beside, claim, kind_of, open_source, output_format, paths_in
    from rt_framework.export import export_file
    from rt_framework.jobs.running import RunMode, run
    from rt_framework.kit.parts import Spec
    from rt_framework.text import shown

    # The run writes in the format of OUT, so that what OUT cannot hold is known before the first call.
    source = open_source(host, data, limit)
    form = output_format(host, out, source.format_name)
    job = Config(
        data=data,
        pipeline=Pipeline(stages=(Spec("reflect", chosen("reflection", reflection)), Spec("choose", "newest"))),
        teacher=chosen("teacher", teacher),
        limits=Limits(concurrency=concurrency, samples=limit),
        output=Output(format=form),
    )
    run_dir = beside(out)
    kind = kind_of(Builder(host)("formats", form))
    claim([Destination(out, "--out", kind, run_dir, overwrite)], source.inputs, paths_in(job))
    with watching(host, ["console"]) as watchers:
        summary = asyncio.run(run(host, job, run_dir, watchers, RunMode(moved=moved)))
    click.echo(shown(export_file(host, run_dir, out, overwrite=overwrite, record=run_dir)))
    return int(job.limits.too_many(summary.errors, summary.total))
