"""The command ``rt longest``: the samples with the longest responses, by the student's tokens."""

import asyncio
import json
from heapq import nlargest
from pathlib import Path

import click

from rt_framework.cli.options import data_options, name_option, open_source, overwrite_option, parts, watching
from rt_framework.jobs.scoring import Scorers, score_file
from rt_framework.kit.parts import Spec
from rt_framework.text import shown


@click.command()
@data_options
@name_option("--student", names=parts("students"), required=True, help="Student whose tokens are counted.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File for the lengths, as JSON lines.")
@overwrite_option
@click.pass_obj
def longest(host, data, limit, student, out, overwrite):
    """Print the three samples of DATA with the longest responses."""
    source = open_source(host, data, limit)
    with watching(host, ()) as watchers:
        scorers = Scorers(metrics=("length",), student=Spec.parse(student))
        asyncio.run(score_file(host, source, scorers, out, watchers, overwrite))
    lengths = {}
    with out.open(encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            lengths[line["row"]] = line["metrics"]["length"] or 0
    for row in nlargest(3, lengths, key=lengths.__getitem__):
        click.echo(shown(f"row {row}: {lengths[row]:.0f} tokens"))
