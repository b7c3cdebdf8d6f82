"""Options of every command that lets a teacher judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from rt_framework.cli.options import Number, Whole


def judge_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--concurrency``, ``--budget-usd`` and ``--answers``; the command gets the last one as ``elsewhere``."""
    for option in (
        click.option(
            "--answers",
            "elsewhere",
            multiple=True,
            type=click.Path(),
            metavar="RUN_DIR",
            help="Directory whose answers of the judge are used too, such as that before the data changed.",
        ),
        click.option("--budget-usd", type=Number(0), help="Budget in dollars; no call that could exceed it is sent."),
        click.option(
            "--concurrency", type=Whole(1), default=32, show_default=True, help="Largest number of calls under way."
        ),
    ):
        command = option(command)
    return command
