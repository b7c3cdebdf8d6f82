"""The command ``rt explain``."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from rt_framework.cli.json_option import json_option, print_json


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("sample", required=False)
@click.option("--search", metavar="TEXT", help="Show the sample that holds this text, instead of naming SAMPLE.")
@click.option("--prompts", is_flag=True, help="Also show what teachers were asked and answered, word for word.")
@json_option
def command(run_dir: Path, sample: str | None, search: str | None, prompts: bool, as_json: bool) -> None:
    """Show what became of SAMPLE and why: its versions, scores, decisions, failures and costs.

    SAMPLE is a row number (from 0), an id, or the beginning of an id. Up to 15 digits alone are a row number; 16 or
    more digits are the beginning of an id. 'rt samples' lists the samples of a run.
    """
    from rt_framework.jobs.looking.story import find_sample, story_of
    from rt_framework.results import open_run
    from rt_framework.terminal.explain import tell

    if (sample is None) == (search is None):
        raise click.UsageError("name one sample: by SAMPLE or by --search TEXT")
    with open_run(run_dir) as run:
        story = story_of(run, find_sample(run, sample, search), prompts)
    if as_json:
        print_json(story)
    else:
        tell(story, f"rt explain {quote(str(run_dir))} {story.row}", prompts)
