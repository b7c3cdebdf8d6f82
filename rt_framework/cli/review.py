"""The command ``rt review``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rt_framework.cli.numbers import Whole
from rt_framework.text import shown

if TYPE_CHECKING:
    from rt_framework.jobs.reviewing import Act
    from rt_framework.results import Review

_ACTS: dict[str, Act] = {"a": "accept", "v": "veto", "c": "comment", "s": "skip", "b": "back", "q": "quit"}

_PROMPT = " ".join(f"[{key}]{act[1:]}" for key, act in _ACTS.items()) + ": "


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("-n", "--number", type=Whole(1), default=50, show_default=True, help="Most rewrites to show.")
@click.option("--seed", type=Whole(), default=0, show_default=True, help="Seed of the random order.")
@click.option("--sample", metavar="ROW|ID", help="Show the rewrite of this sample alone, reviewed or not.")
@click.option("--by", "reviewer", default="", metavar="NAME", help="Your name, for reports and data cards.")
def command(run_dir: Path, number: int, seed: int, sample: str | None, reviewer: str) -> None:
    """Read rewrites that the run in RUN_DIR chose, and accept or veto them with single keys.

    A veto takes a sample back to its original texts when the command of the run is given again. What you say is kept
    at once; the same command goes on with the rewrites that have no verdict yet. Without a terminal, each line of
    standard input is a key or its word, and the line after a 'c' is the comment.
    """
    from rt_framework.jobs.reviewing import reviewing, walk
    from rt_framework.terminal.review import show_rewrite

    with reviewing(run_dir, reviewer) as review:
        ids = review.draw(number, seed) if sample is None else [review.find(sample)]
        if not ids:
            click.echo("no chosen rewrite is without a verdict")
        walk(
            review,
            ids,
            lambda rewrite, place: show_rewrite(review.run, rewrite, place, len(ids)),
            _act,
            _comment,
            _confirm,
        )
    _show_counts(run_dir)


def _act() -> Act:
    """Ask until one of the keys was given; the end of the input is ``quit``."""
    while True:
        click.echo(_PROMPT, nl=False)
        word = _key()
        act = _ACTS.get(word) or next((act for act in _ACTS.values() if act == word), None)
        click.echo(act or "")
        if act is not None:
            return act


def _key() -> str:
    if not sys.stdin.isatty():
        return (_line() or "quit").lower()
    try:
        return str(click.getchar()).lower()
    except EOFError:
        return "quit"


def _line() -> str:
    """Return the next line that is not empty; an empty text at the end of the input."""
    return next((line.strip() for line in sys.stdin if line.strip()), "")


def _comment() -> str:
    if not sys.stdin.isatty():
        return _line()
    text: str = click.prompt("comment", default="", show_default=False)
    return text.strip()


def _confirm(review: Review) -> None:
    click.echo(shown(f"  kept: {review.words}"))


def _show_counts(run_dir: Path) -> None:
    """Print what all reviews of the run amount to, and how many rewrites have none."""
    from rt_framework.results import open_run
    from rt_framework.rundir import review_lines

    with open_run(run_dir) as run:
        counts = run.review_counts
        chosen = sum(outcome == "rewritten" for _, outcome, *_ in run.outcomes())
    for line in review_lines(counts):
        click.echo(shown(line))
    if not chosen:
        click.echo("the run chose no rewrite, so there is nothing to review")
        return
    click.echo(f"{chosen - counts.accepted - counts.pending:,} of {chosen:,} chosen rewrites have no verdict")
