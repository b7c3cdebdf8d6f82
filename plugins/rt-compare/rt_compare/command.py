"""The command ``rt compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from rt_compare.judge_options import judge_options
from rt_framework.cli.options import (
    ChoosingCommand,
    Data,
    Destination,
    Host,
    Limits,
    Whole,
    beside,
    chosen,
    claim,
    json_option,
    moved_option,
    name_option,
    overwrite_option,
    pairs,
    parts,
    paths_in,
    print_json,
    reading_options,
    watching,
    whole,
)

if TYPE_CHECKING:
    from rich.console import Console

    from rt_compare.contests import Contests
    from rt_compare.judging import Judgements
    from rt_framework.kit.parts import Spec


@click.command(cls=ChoosingCommand, choices={"judge": "teachers"})
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--scores-a", type=click.Path(path_type=Path), help="Output of 'rt score' for A, if A is a data file.")
@click.option("--scores-b", type=click.Path(path_type=Path), help="Output of 'rt score' for B, if B is a data file.")
@reading_options
@click.option("--out", type=click.Path(path_type=Path), help="Also write the results to this file, as JSON.")
@json_option
@name_option(
    "--judge", names=parts("teachers"), metavar="NAME:MODEL", help="Teacher that judges pairs of answers, for money."
)
@click.option("-n", "--sample", type=Whole(1), help="Number of pairs to judge, drawn at random; default: all.")
@click.option("--seed", type=Whole(), default=0, show_default=True, help="Seed of the random draw.")
@judge_options
@click.option("--run-dir", type=click.Path(path_type=Path), help="Directory for the judge's answers; default: FILE.rt.")
@click.option("--dry-run", is_flag=True, help="Show what the judge would cost; send and write nothing.")
@overwrite_option
@moved_option
@click.pass_obj
def command(
    host: Host,
    /,
    a: Path,
    b: Path,
    scores_a: Path | None,
    scores_b: Path | None,
    format_: str | None,
    shape: str | None,
    columns: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    judge: str | None,
    overwrite: bool,
    **asked: Any,
) -> int:
    """Compare two data sets: scores, lengths, duplicates, refusals, languages. Trains no model.

    A and B are data files or run directories. Of a run directory, the samples that it kept are compared, with scores.

    With --judge a teacher marks both answers to each question that A and B share, in both orders. The options of the
    judge are options too: 'rt compare A B --judge litellm:MODEL --help' lists --judge-api-base and others.
    """
    from rt_compare.contests import contests
    from rt_compare.judging import plain_results
    from rt_compare.samples import compare
    from rt_compare.side_by_side import show_comparison
    from rt_compare.sides import lent, open_side
    from rt_framework.terminal.printing import line, stdout

    judging = _judging(judge, out, **asked)
    written = _claim((a, b), (scores_a, scores_b), judging, out, overwrite)
    read, given = pairs(columns, "--column"), ((a, scores_a), (b, scores_b))
    left, right = (open_side(host, Data(str(path), format_, shape, read), scores) for path, scores in given)
    left, right = lent(left, right), lent(right, left)
    drawn = None if judging is None else contests(left, right)
    found, console = compare(left, right), None if as_json else stdout()
    if console is not None:
        show_comparison(console, found, left, right)
    judged = None
    if judging is not None and drawn is not None:
        if judging.dry_run:
            judging.show_quote(host, drawn, console)
            return 0
        judged = judging.judged(host, drawn, console)
    results = plain_results(found, judged)
    if written is not None:
        with whole(written) as part:
            part.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", "utf-8")
    if console is None:
        print_json(results)
    elif written is not None:
        console.print(line(f"wrote {out}"))
    return int(judged is not None and judged.errors > 0)


@frozen
class _Judging:
    """The judge that the user has named, with the options of its work."""

    teacher: Spec
    run_dir: Path
    """Directory for the judge's answers."""
    sample: int | None
    seed: int
    limits: Limits
    elsewhere: tuple[str, ...]
    """Other run directories, whose answers are used too."""
    dry_run: bool
    moved: bool

    def show_quote(self, host: Host, drawn: Contests, console: Console | None) -> None:
        """Print what the judge would cost; as JSON where there is no console."""
        from rt_compare.judging import judging_job
        from rt_compare.side_by_side import show_quote
        from rt_framework.jobs.looking.quotes import quote_in_dollars
        from rt_framework.jobs.quoting import quote

        job = judging_job(drawn, self.teacher, self.limits, self.elsewhere)
        source = drawn.source if self.sample is None else drawn.source.drawing(self.sample, self.seed)
        quoted = quote(host, job, self.run_dir, self.moved, source)
        if console is None:
            print_json(quote_in_dollars(quoted, job))
        else:
            show_quote(console, quoted)

    def judged(self, host: Host, drawn: Contests, console: Console | None) -> Judgements:
        """Let the teacher judge, and print what it said if there is a console."""
        import asyncio

        from rt_compare.judging import judge, judging_job
        from rt_compare.side_by_side import show_judgements
        from rt_framework.jobs.running import RunMode
        from rt_framework.kit.stdout import all_to_stderr

        job = judging_job(drawn, self.teacher, self.limits, self.elsewhere)
        mode = RunMode(pilot=self.sample, seed=self.seed, moved=self.moved, job="judge")
        with all_to_stderr(console is None), watching(host, ["console"]) as watchers:
            judged = asyncio.run(judge(host, job, drawn, self.run_dir, mode, watchers))
        if console is not None:
            show_judgements(console, judged)
        return judged


def _judging(
    judge: str | None,
    out: Path | None,
    sample: int | None,
    seed: int,
    concurrency: int,
    budget_usd: float | None,
    run_dir: Path | None,
    elsewhere: tuple[str, ...],
    dry_run: bool,
    moved: bool,
) -> _Judging | None:
    """Return what the options ask of a judge; ``None`` if there is none.

    Raises:
        click.UsageError: the options do not fit each other.
    """
    if judge is None:
        if (sample, budget_usd, run_dir, elsewhere, dry_run) != (None, None, None, (), False):
            options = "--sample, --budget-usd, --run-dir, --answers and --dry-run"
            raise click.UsageError(f"{options} can only be used with --judge")
        return None
    if run_dir is None and out is None:
        raise click.UsageError("--judge: name a place for its answers, by --run-dir DIR or --out FILE")
    where = beside(out) if run_dir is None and out is not None else run_dir
    limits = Limits(concurrency=concurrency, budget_usd=budget_usd)
    return _Judging(chosen("judge", judge), where or Path(), sample, seed, limits, elsewhere, dry_run, moved)


def _claim(
    sides: tuple[Path, Path],
    scores: tuple[Path | None, ...],
    judging: _Judging | None,
    out: Path | None,
    overwrite: bool,
) -> Destination | None:
    """Claim the directory of the judge's answers and the output file; return the latter, if there is one.

    Raises:
        ConfigError: a destination must not be written.
        DiskError: a destination cannot be written.
    """
    record = None if judging is None else judging.run_dir
    written = None if out is None else Destination(out, "--out", "file", record, overwrite)
    own = [] if record is None else [Destination(record, "--run-dir", "run")]
    inputs = [*(path for path in scores if path is not None), *paths_in(judging and judging.teacher)]
    claim([*own, *([] if written is None else [written])], sides, inputs)
    return written
