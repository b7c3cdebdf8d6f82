"""The command ``rt hardest``: the samples that a student finds hardest."""

from __future__ import annotations

import asyncio
import json
from heapq import nlargest
from pathlib import Path

import click

from rt_framework import RtError
from rt_framework.cli.options import (
    ChoosingCommand,
    Data,
    Host,
    ScoringConfig,
    Whole,
    chosen,
    data_options,
    name_option,
    open_source,
    overwrite_option,
    parts,
    reporter_option,
    watching,
)
from rt_framework.jobs.scoring import Scorers, score_file
from rt_framework.text import shown


@click.command(cls=ChoosingCommand, choices={"student": "students"})
@data_options
@name_option("--student", names=parts("students"), required=True, metavar="NAME:MODEL", help="Student that scores.")
@name_option(
    "--metric", names=parts("metrics"), default="loss", show_default=True, help="Metric that ranks the samples."
)
@click.option("-n", "--top", type=Whole(1), default=10, show_default=True, help="Number of samples to print.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File for all scores, as JSON lines.")
@overwrite_option
@reporter_option
@click.pass_obj
def hardest(
    host: Host,
    data: Data,
    limit: int | None,
    student: str,
    metric: str,
    top: int,
    out: Path,
    overwrite: bool,
    reporter_names: tuple[str, ...],
) -> int:
    """Print the samples of DATA with the highest scores.

    The exit code is 1 if some samples have no score.
    """
    source = open_source(host, data, limit)
    with watching(host, reporter_names) as watchers:
        scorer, rules = chosen("student", student), ScoringConfig()
        asyncio.run(score_file(host, source, Scorers((metric,), scorer, rules), out, watchers, overwrite))
    scores = {}
    with out.open(encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            scores[line["row"]] = line["metrics"][metric]
    ranked = {row: score for row, score in scores.items() if score is not None}
    if not ranked:
        raise RtError(f"{data.path}: no sample has a score by '{metric}'; {out} gives the reasons")
    for row in nlargest(top, ranked, key=lambda row: ranked[row]):
        click.echo(shown(f"row {row}: {metric} {ranked[row]:.4f}"))
    return int(len(ranked) < len(scores))
