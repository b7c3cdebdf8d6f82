"""``rt run``."""

from __future__ import annotations

from pathlib import Path

import click

from rt_framework.host import Host


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--run-dir", type=click.Path(path_type=Path), help="Ledger and outputs; default: runs/ and CONFIG's name."
)
@click.option("--limit", type=click.IntRange(1), help="Read only so many samples.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key: limits.concurrency=8.")
@click.option(
    "--reporter", "reporter_names", multiple=True, default=("console",), help="Who watches.", show_default=True
)
@click.pass_obj
def command(
    host: Host,
    config: Path,
    run_dir: Path | None,
    limit: int | None,
    overrides: tuple[str, ...],
    reporter_names: tuple[str, ...],
) -> int:
    """Run the job that CONFIG describes. The same command again goes on where it stopped.

    Paths in CONFIG are relative to the current directory.
    """
    import asyncio

    from rt_framework.cli.common import watching
    from rt_framework.config import read_config
    from rt_framework.runner import run

    limits = () if limit is None else (f"limits.samples={limit}",)
    job = read_config(config, (*overrides, *limits))
    with watching(host, reporter_names) as watchers:
        summary = asyncio.run(run(host, job, run_dir or Path("runs") / config.stem, watchers))
    return int(summary.outcomes["failed"] > job.limits.failed)
