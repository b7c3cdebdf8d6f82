"""Argument and options of the commands that run the job of a config."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any

import click

from rt_framework.cli.data_options import limit_option
from rt_framework.cli.reporter_options import reporter_option
from rt_framework.cli.run_request import RunRequest
from rt_framework.plugin import Host

moved_option = click.option(
    "--moved", is_flag=True, help="Accept that the teacher's server has moved; use the answers of both places."
)
"""Flag ``--moved`` of every command that asks a teacher."""


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument CONFIG and the options of ``rt run``; the command gets them as ``job``, a :class:`RunRequest`.

    The options are ``--run-dir``, ``--limit``, ``--shard``, ``--set``, ``--moved`` and ``--reporter``.
    """

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
        typed = " ".join(("rt", *loaded)), " ".join((quote(str(config)), *told))
        return command(
            *args,
            job=RunRequest(host, read, run_dir or default_dir(config, read.data.shard), reporter_names, typed, moved),
            **options,
        )

    for decorate in (
        click.argument("config", type=click.Path(path_type=Path)),
        click.option(
            "--run-dir",
            type=click.Path(path_type=Path),
            help="Directory of ledger and outputs; default: runs/ and CONFIG's name.",
        ),
        limit_option,
        click.option(
            "--shard", metavar="I/N", help="Run only the I-th of N parts of the samples; 'rt merge' joins the parts."
        ),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of CONFIG."),
        moved_option,
        reporter_option,
    ):
        gathered = decorate(gathered)
    return gathered
