"""The command ``rt reflect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from rt_framework.cli.data_options import data_options, overwrite_option
from rt_framework.cli.names import name_option, parts
from rt_framework.cli.numbers import Whole
from rt_framework.cli.plugin_options import ChoosingCommand, chosen
from rt_framework.cli.run_options import moved_option
from rt_framework.kit.parts import Spec
from rt_framework.plugin import Host
from rt_framework.text import shown

if TYPE_CHECKING:
    from rt_framework.config import Data


@click.command(cls=ChoosingCommand, choices={"teacher": "teachers", "reflection": "reflections"})
@data_options
@name_option(
    "--teacher",
    names=parts("teachers"),
    metavar="NAME:MODEL",
    help="Teacher that rewrites: litellm:PROVIDER/MODEL, hf:MODEL, …",
)
@name_option(
    "--reflection",
    names=parts("reflections"),
    default="instruction",
    show_default=True,
    help="Reflection: what to rewrite.",
)
@click.option(
    "--prompt", type=click.Path(path_type=Path), metavar="FILE", help="Prompt file: short for --reflection prompt:FILE."
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
    import asyncio

    from rt_framework.cli.reporter_options import watching
    from rt_framework.config import Builder, Limits
    from rt_framework.data import open_source
    from rt_framework.jobs.rewriting import most_further, preview, rewrite, rewriting_job
    from rt_framework.terminal.cost import show_preview

    question, named = _question(reflection, prompt), None if teacher is None else chosen("teacher", teacher)
    if show:
        source, make = open_source(host, data, limit).drawing(rows, seed), Builder(host)
        show_preview(preview(make, source, question, named), named, most_further(make, question))
        return 0
    if named is None or out is None:
        raise _usage(f"Missing option '{'--teacher' if named is None else '--out'}'.")
    if _is_given("rows") or _is_given("seed"):
        raise _usage("-n and --seed are for --show; --limit N rewrites the first N rows")
    limits = Limits(concurrency=concurrency, samples=limit)
    job = rewriting_job(host, data, question, named, limits, out, overwrite)
    with watching(host, ["console"]) as watchers:
        summary, written = asyncio.run(rewrite(host, job, out, watchers, overwrite, moved))
    click.echo(shown(written))
    return int(limits.too_many(summary.errors, summary.total))


def _question(reflection: str, prompt: Path | None) -> Spec:
    """Return the reflection that the options name."""
    spec = chosen("reflection", reflection)
    if prompt is None:
        return spec
    if _is_given("reflection") or spec.options is not None:
        raise _usage("--prompt FILE is short for --reflection prompt:FILE; with options of it give the long form")
    return Spec("prompt", {"file": str(prompt)})


def _is_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _usage(why: str) -> click.UsageError:
    return click.UsageError(why, click.get_current_context())
