"""Argument and options that the commands that run a job share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click
from attrs import evolve, frozen

from rt_framework.cli.common import limit_option, moved_option, reporter_option
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.config import Config
    from rt_framework.events import Summary
    from rt_framework.jobs.running import RunMode


@frozen
class RunRequest:
    """A job as the command line asks for it."""

    host: Host
    config: Config
    run_dir: Path
    reporters: tuple[str, ...]
    command: str
    """The ``rt run`` command that runs the job, as a user would type it."""
    moved: bool
    """True if the teacher may be asked at another place (provider or server) than the run directory has recorded."""

    def run(self, manner: RunMode) -> Summary:
        """Run the job."""
        import asyncio

        from rt_framework.cli.common import watching
        from rt_framework.jobs.running import run

        with watching(self.host, self.reporters) as watchers:
            return asyncio.run(run(self.host, self.config, self.run_dir, watchers, evolve(manner, moved=self.moved)))

    def exit_code(self, summary: Summary) -> int:
        """Return 1 if more samples met errors than ``limits`` allow, else 0."""
        return int(self.config.limits.too_many(summary.errors, summary.total))


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument CONFIG and the options for running it; the command gets them as ``job``."""

    @click.pass_obj
    @functools.wraps(command)
    def gathered(
        host: Host,
        /,
        *args: Any,
        config: Path,
        run_dir: Path | None,
        limit: int | None,
        shard: str | None,
        overrides: tuple[str, ...],
        reporter_names: tuple[str, ...],
        moved: bool,
        **options: Any,
    ) -> Any:
        from rt_framework.config import read_config
        from rt_framework.rundir import default_dir

        short = {"limits.samples": limit, "data.shard": shard}
        given = [*overrides, *(f"{key}={value}" for key, value in short.items() if value is not None)]
        read = read_config(config, given)
        told = [f"--run-dir {quote(str(run_dir))}"] if run_dir else []
        told += [f"--set {quote(one)}" for one in given]
        loaded = [f"-p {quote(one)}" for one in click.get_current_context().find_root().params["plugins"]]
        typed = " ".join(("rt", *loaded, "run", quote(str(config)), *told))
        return command(
            *args,
            job=RunRequest(host, read, run_dir or default_dir(config, read.data.shard), reporter_names, typed, moved),
            **options,
        )

    for decorate in (
        click.argument("config", type=click.Path(path_type=Path)),
        click.option(
            "--run-dir", type=click.Path(path_type=Path), help="Ledger and outputs; default: runs/ and CONFIG's name."
        ),
        limit_option,
        click.option("--shard", metavar="I/N", help="Only the I-th of N parts of the samples; 'rt merge' joins them."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of CONFIG."),
        moved_option,
        reporter_option,
    ):
        gathered = decorate(gathered)
    return gathered
