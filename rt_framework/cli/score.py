"""The command ``rt score``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rt_framework.cli.data_options import data_options, overwrite_option
from rt_framework.cli.numbers import Whole
from rt_framework.cli.plugin_options import ChoosingCommand, chosen, named_parts
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.config import Data


@click.command(cls=ChoosingCommand, choices={"student": "students", "template": "templates", "executor": "executors"})
@data_options
@click.option("--preset", default="chat", show_default=True, help="Preset: a frozen set of scoring rules.")
@click.option("--template", help="Template; default: the preset's own.")
@click.option("--max-tokens", type=Whole(2), help="Longest sequence in tokens; overrides the preset.")
@click.option(
    "--student", metavar="NAME:MODEL", help="Student whose losses are read: hf:HUB_ID, hf:DIR or hf:FILE.gguf."
)
@click.option(
    "--student-also",
    "students",
    multiple=True,
    metavar="NAME=STUDENT",
    help="Further student, whose losses the metric METRIC@NAME reads; may be given more than once.",
)
@click.option(
    "--executor", default="local", show_default=True, help="Executor of the student's work; processes uses every GPU."
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="METRIC",
    help="Metric to compute, METRIC@NAME for another student, or NAME={METRIC: OPTIONS}; may be given more than once; "
    "default: the preset's.",
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
    student: str | None,
    students: tuple[str, ...],
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
    from rt_framework.jobs.scoring import Scorers, score_file
    from rt_framework.scoring import ScoringRules
    from rt_framework.text import shown

    source = open_source(host, data, limit)
    framed = chosen("template", template) if template else None
    config = ScoringConfig(preset, framed, max_tokens, executor=chosen("executor", executor))
    options = named_parts(tuple(text for text in metrics if "=" in text), "metric")
    scorers = Scorers(
        metrics=tuple(text.partition("=")[0] for text in metrics) or ScoringRules.of(config).preset.metrics,
        student=chosen("student", student) if student else None,
        config=config,
        students=named_parts(students, "student-also"),
        options=options,
    )
    with watching(host, ["console"]) as watchers:
        work = score_file(host, source, scorers, out, watchers, overwrite)
        summary = asyncio.run(work)
    counts, seconds = summary.progress.student, summary.progress.seconds
    click.echo(
        f"{counts.tokens} student tokens computed, {counts.tokens / seconds:.0f}/s, "
        f"{counts.reused} losses from the ledger; {seconds:.1f} s"
    )
    click.echo(shown(f"{out}: " + ", ".join(f"{count} {status}" for status, count in summary.outcomes.items())))
