"""The command ``rt answers``."""

from __future__ import annotations

from pathlib import Path

import click

from rt_framework.cli.data_options import overwrite_option
from rt_framework.plugin import Host
from rt_framework.text import number_of, shown


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option(
    "--export", type=click.Path(path_type=Path), metavar="FILE", help="Write the answers to FILE, as JSON lines."
)
@click.option(
    "--check", type=click.Path(path_type=Path), metavar="FILE", help="Compare the answers in FILE with the run's."
)
@overwrite_option
@click.pass_obj
def command(host: Host, run_dir: Path, export: Path | None, check: Path | None, overwrite: bool) -> int:
    """Show which answers of teachers RUN_DIR holds, write them to a file, or compare them with such a file.

    The teacher 'replay' reads the file, and repeats the run without paying again. ('rt answer' lets a student answer.)
    """
    from rt_framework.jobs.sharing import export_answers

    if export is not None and check is not None:
        raise click.UsageError("--export writes a file and --check reads one; call rt answers once for each")
    if export is not None:
        count = export_answers(host, run_dir, export, overwrite)
        click.echo(shown(f"wrote {export}: {number_of(count, 'answer')}"))
        return 0
    if check is not None:
        return _compare(host, run_dir, check)
    _show(run_dir)
    return 0


def _compare(host: Host, run_dir: Path, path: Path) -> int:
    """Print how far the answers in a file are those of the run; the exit code is 1 unless they are the same."""
    from rt_framework.jobs.sharing import compare_answers

    found = compare_answers(host, run_dir, path)
    both = f"{found.same:,} answers are the same, {found.differing:,} differ"
    alone = f"{found.only_in_file:,} are only in {path}, {found.only_in_run:,} are only in {run_dir}"
    click.echo(shown(f"{both}, {alone}"))
    if found.first is not None:
        click.echo(shown(f"the first that differs: {found.first}"))
    return int(not found.complete)


def _show(run_dir: Path) -> None:
    """Print a row for each reflection of each teacher."""
    from rt_framework.results import open_run
    from rt_framework.terminal.printing import dollars, stdout, table

    with open_run(run_dir) as run:
        cost = run.cost
    head = ("teacher", "reflection", "questions", "answers", "prompt tokens", "answer tokens", "cost")
    rows = [
        (
            bill.teacher,
            bill.reflection,
            *(f"{number:,}" for number in (bill.calls, bill.answered)),
            *(f"{number:,}" for number in (bill.usage.prompt_tokens, bill.usage.completion_tokens)),
            dollars(bill.nano_dollars) if cost.priced or bill.nano_dollars else "unknown",
        )
        for bill in sorted(cost.bills, key=lambda bill: (bill.teacher, bill.reflection))
    ]
    stdout().print(table("Answers of teachers", head, rows, range(2, 7)))
