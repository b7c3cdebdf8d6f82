"""The command ``rt answer``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rt_framework.cli.data_options import data_options, overwrite_option
from rt_framework.cli.names import name_option, parts
from rt_framework.cli.numbers import Number, Whole
from rt_framework.cli.plugin_options import ChoosingCommand, chosen
from rt_framework.plugin import Host
from rt_framework.text import shown

if TYPE_CHECKING:
    from rt_framework.config import Data


@click.command(cls=ChoosingCommand, choices={"student": "students", "executor": "executors"})
@data_options
@name_option(
    "--student",
    names=parts("students"),
    required=True,
    metavar="NAME:MODEL",
    help="Student that answers: hf:HUB_ID, hf:DIR; --student-adapter DIR adds an adapter.",
)
@name_option("--executor", names=parts("executors"), default="local", show_default=True, help="Executor of its work.")
@click.option("--max-tokens", type=Whole(1), default=1024, show_default=True, help="Longest answer in tokens.")
@click.option("--temperature", type=Number(0), default=0.0, show_default=True, help="Sampling temperature.")
@click.option("--drop-cut", is_flag=True, help="Leave answers out that were cut off at --max-tokens.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="File for DATA with the student's answers as responses; answers are kept in OUT.rt.",
)
@overwrite_option
@click.pass_obj
def command(
    host: Host,
    data: Data,
    limit: int | None,
    student: str,
    executor: str,
    max_tokens: int,
    temperature: float,
    drop_cut: bool,
    out: Path,
    overwrite: bool,
) -> int:
    """Let a student answer every sample of DATA by itself; the response that stands there is not shown to it.

    Answers are committed one batch after the other: the same command goes on after an interruption.
    """
    import asyncio

    from rt_framework.cli.reporter_options import watching
    from rt_framework.config import Limits, ScoringConfig
    from rt_framework.jobs.rewriting import answered, answering_job, rewrite

    settings = {"max_tokens": max_tokens, "temperature": temperature, "keep_cut": not drop_cut}
    limits, scoring = Limits(samples=limit, answers=1), ScoringConfig(executor=chosen("executor", executor))
    job = answering_job(host, data, settings, chosen("student", student), scoring, limits, out, overwrite)
    with watching(host, ["console"]) as watchers:
        summary, written = asyncio.run(rewrite(host, job, out, watchers, overwrite))
    click.echo(shown(f"{written}: {answered(host, summary, out)}"))
    return int(limits.too_many(summary.errors, summary.total))
