"""The command ``rt compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rt_framework.cli.data_options import overwrite_option, pairs, reading_options
from rt_framework.cli.names import name_option, parts
from rt_framework.cli.numbers import Number, Whole
from rt_framework.cli.plugin_options import ChoosingCommand, chosen
from rt_framework.cli.run_options import moved_option
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.compare import JudgeJob, Judgements


@click.command(cls=ChoosingCommand, choices={"judge": "teachers"})
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--scores-a", type=click.Path(path_type=Path), help="Output of 'rt score' for A, if A is a data file.")
@click.option("--scores-b", type=click.Path(path_type=Path), help="Output of 'rt score' for B, if B is a data file.")
@reading_options
@click.option("--json", "out", type=click.Path(path_type=Path), help="Also write the results to this file, as JSON.")
@name_option(
    "--judge", names=parts("teachers"), metavar="NAME:MODEL", help="Teacher that judges pairs of answers, for money."
)
@click.option("-n", "--sample", type=Whole(1), help="Number of pairs to judge, drawn at random; default: all.")
@click.option("--seed", type=Whole(), default=0, show_default=True, help="Seed of the random draw.")
@click.option("--concurrency", type=Whole(1), default=32, show_default=True, help="Largest number of calls under way.")
@click.option("--budget-usd", type=Number(0), help="Budget in dollars; no call that could exceed it is sent.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Directory for the judge's answers; default: FILE.rt.")
@overwrite_option
@moved_option
@click.pass_obj
def command(
    host: Host,
    a: Path,
    b: Path,
    scores_a: Path | None,
    scores_b: Path | None,
    format_: str | None,
    shape: str | None,
    columns: tuple[str, ...],
    out: Path | None,
    judge: str | None,
    sample: int | None,
    seed: int,
    concurrency: int,
    budget_usd: float | None,
    run_dir: Path | None,
    overwrite: bool,
    moved: bool,
) -> int:
    """Compare two data sets: scores, lengths, duplicates, refusals, languages. Trains no model.

    A and B are data files or run directories. Of a run directory, the samples that it kept are compared, with scores.

    With --judge a teacher marks both answers to each question that A and B share, in both orders. The options of the
    judge are options too: 'rt compare A B --judge litellm:MODEL --help' lists --judge-api-base and others.
    """
    from rt_framework.compare import JudgeJob, as_json, check_extra, claim_judged, compare, lent, open_side, write_json
    from rt_framework.config import Data, Limits
    from rt_framework.terminal import line, show_comparison, show_judgements, stdout

    if judge is None and (sample, budget_usd, run_dir) != (None, None, None):
        raise click.UsageError("--sample, --budget-usd and --run-dir can only be used with --judge")
    if judge is not None and (out or run_dir) is None:
        raise click.UsageError("--judge: name a place for its answers, by --run-dir DIR or --json FILE")
    check_extra()
    who = None if judge is None else chosen("judge", judge)
    answers, found_at = claim_judged((a, b), (scores_a, scores_b), who, run_dir, out, overwrite)
    read, given = pairs(columns, "--column"), ((a, scores_a), (b, scores_b))
    left, right = (open_side(host, Data(str(path), format_, shape, read), scores) for path, scores in given)
    left, right = lent(left, right), lent(right, left)
    limits = Limits(concurrency=concurrency, budget_usd=budget_usd)
    job = None if who is None else JudgeJob.of(host, (left, right), who, limits, answers, sample, seed, moved)
    found, console = compare(left, right), stdout()
    show_comparison(console, found, left, right)
    judged = None if job is None else _judged(host, job)
    if judged is not None:
        show_judgements(console, judged)
    if found_at is not None:
        write_json(found_at, as_json(found, judged))
        console.print(line(f"wrote {out}"))
    return int(judged is not None and judged.errors > 0)


def _judged(host: Host, job: JudgeJob) -> Judgements:
    import asyncio

    from rt_framework.cli.reporter_options import watching
    from rt_framework.compare import judge

    with watching(host, ["console"]) as watchers:
        return asyncio.run(judge(host, job, watchers))
