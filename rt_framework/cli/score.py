"""The command ``rt score``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rt_framework.cli.data_options import data_options, overwrite_option
from rt_framework.cli.names import name_option, parts
from rt_framework.cli.plugin_options import ChoosingCommand, chosen
from rt_framework.cli.scoring_options import max_tokens_option, preset_option, template_option
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.config import Data


@click.command(cls=ChoosingCommand, choices={"student": "students", "template": "templates", "executor": "executors"})
@data_options
@preset_option
@template_option
@max_tokens_option
@name_option(
    "--student",
    names=parts("students"),
    required=True,
    metavar="NAME:MODEL",
    help="Student that scores: hf:HUB_ID, hf:DIR or hf:FILE.gguf.",
)
@name_option(
    "--executor",
    names=parts("executors"),
    default="local",
    show_default=True,
    help="Executor of the student's work; processes uses every GPU.",
)
@name_option(
    "--metric",
    "metrics",
    names=parts("metrics"),
    multiple=True,
    help="Metric to compute; may be given more than once; default: the preset's.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="File for the scores, as JSON lines; losses are kept in OUT.rt.",
)
@overwrite_option
@click.pass_obj
def command(
    host: Host,
    data: Data,
    limit: int | None,
    preset: str,
    template: str | None,
    max_tokens: int | None,
    student: str,
    executor: str,
    metrics: tuple[str, ...],
    out: Path,
    overwrite: bool,
) -> None:
    """Score every sample of DATA, and write one line for each, in input order.

    The options of the named plugins are options too: 'rt score --student hf:MODEL --help' lists --student-dtype and
    others.
    """
    import asyncio

    from rt_framework.cli.reporter_options import watching
    from rt_framework.config import ScoringConfig
    from rt_framework.data import open_source
    from rt_framework.jobs.scoring import score_file
    from rt_framework.scoring import ScoringRules
    from rt_framework.text import shown

    source = open_source(host, data, limit)
    framed = chosen("template", template) if template else None
    config = ScoringConfig(preset, framed, max_tokens, executor=chosen("executor", executor))
    names = metrics or ScoringRules.of(config).preset.metrics
    with watching(host, ["console"]) as watchers:
        work = score_file(host, source, chosen("student", student), config, names, out, watchers, overwrite)
        summary = asyncio.run(work)
    counts, seconds = summary.progress.student, summary.progress.seconds
    click.echo(
        f"{counts.tokens} student tokens computed, {counts.tokens / seconds:.0f}/s, "
        f"{counts.reused} losses from the ledger; {seconds:.1f} s"
    )
    click.echo(shown(f"{out}: " + ", ".join(f"{count} {status}" for status, count in summary.outcomes.items())))
