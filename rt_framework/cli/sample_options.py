"""Options that say which samples a command makes of the rows of a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

unreadable_option = click.option(
    "--unreadable",
    type=click.Choice(["refuse", "drop"]),
    default="refuse",
    show_default=True,
    help="Rows that cannot be read: stop with a list of their faults, or leave them out.",
)
"""Option ``--unreadable`` of every command that reads a data set."""


def turn_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--trained`` and ``--unroll``, which say which turns of a conversation are trained."""
    for decorate in (
        click.option("--unroll", is_flag=True, help="Make a sample of each trained turn, with the turns before it."),
        click.option(
            "--trained",
            type=click.Choice(["last", "all", "marked"]),
            default="last",
            show_default=True,
            help="Assistant turns of a conversation that are trained, and so scored.",
        ),
    ):
        command = decorate(command)
    return command
