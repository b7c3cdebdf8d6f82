"""What the commands that run a job share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from rt_framework.host import Host

if TYPE_CHECKING:
    from rt_framework.config import Config
    from rt_framework.events import Summary
    from rt_framework.runner import Manner


@frozen
class Job:
    """What the command line asks for."""

    host: Host
    config: Config
    run_dir: Path
    reporters: tuple[str, ...]
    command: str
    """The command that runs it, as it would be typed."""

    def run(self, manner: Manner) -> Summary:
        """Run it."""
        import asyncio

        from rt_framework.cli.common import watching
        from rt_framework.runner import run

        with watching(self.host, self.reporters) as watchers:
            return asyncio.run(run(self.host, self.config, self.run_dir, watchers, manner))

    def exit_code(self, summary: Summary) -> int:
        """1 when more samples met errors than allowed."""
        return int(self.config.limits.too_many(summary.errors, summary.total))


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument CONFIG and how to run it; the command gets them as ``job``."""

    @click.pass_obj
    @functools.wraps(command)
    def gathered(
        host: Host,
        /,
        *args: Any,
        config: Path,
        run_dir: Path | None,
        limit: int | None,
        overrides: tuple[str, ...],
        reporter_names: tuple[str, ...],
        **options: Any,
    ) -> Any:
        from rt_framework.config import read_config

        limits = () if limit is None else (f"limits.samples={limit}",)
        read = read_config(config, (*overrides, *limits))
        told = [f"--run-dir {quote(str(run_dir))}"] if run_dir else []
        told += [f"--set {quote(override)}" for override in (*overrides, *limits)]
        typed = " ".join(("rt run", quote(str(config)), *told))
        job = Job(host, read, run_dir or Path("runs") / config.stem, reporter_names, typed)
        return command(*args, job=job, **options)

    for decorate in (
        click.argument("config", type=click.Path(path_type=Path)),
        click.option(
            "--run-dir", type=click.Path(path_type=Path), help="Ledger and outputs; default: runs/ and CONFIG's name."
        ),
        click.option("--limit", type=click.IntRange(1), help="Read only so many samples."),
        click.option(
            "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key: limits.concurrency=8."
        ),
        click.option(
            "--reporter",
            "reporter_names",
            multiple=True,
            default=("console",),
            metavar="NAME",
            help="Who watches; options as NAME:VALUE or '{NAME: {KEY: VALUE}}'.",
            show_default=True,
        ),
    ):
        gathered = decorate(gathered)
    return gathered
