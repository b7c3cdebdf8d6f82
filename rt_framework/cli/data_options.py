"""Options of commands that read a data set or write a file."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import click

from rt_framework.cli.names import name_option, parts, shapes
from rt_framework.cli.numbers import Whole
from rt_framework.cli.sample_options import turn_options, unreadable_option

_DETECTED = "of the data; detected by default."

limit_option = click.option("--limit", type=Whole(1), metavar="N", help="Read only the first N samples.")
"""Option ``--limit N``; the command gets ``limit``, a whole number of at least 1, or ``None``."""

column_option = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="FIELD=COLUMN",
    help="Column of the data that holds a field: output=answer.",
)
"""Option ``--column FIELD=COLUMN``, which may be repeated; the command gets ``columns``, for :func:`pairs`."""

overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace an existing file that this command did not write."
)
"""Flag ``--overwrite`` of every command that writes to a path that the user gives."""

FURTHER = ("revision", "config", "split", "trained", "unroll", "unreadable")
"""Names of the arguments of :func:`hub_options` and of the options about samples: keys of ``data`` in a config."""


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--format``, ``--shape`` and ``--column``; the command gets ``format_``, ``shape`` and ``columns``."""
    for decorate in (
        column_option,
        name_option("--shape", names=shapes, metavar="NAME", help="Shape of its columns; detected by default."),
        name_option("--format", "format_", names=parts("formats"), metavar="NAME", help=f"Format {_DETECTED}"),
    ):
        command = decorate(command)
    return command


def hub_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options ``--revision``, ``--config`` and ``--split``, which say what to read of a data set of the hub."""
    for decorate in (
        click.option("--split", metavar="NAME", help="Split of the data set, if DATA is on the hub."),
        click.option("--config", metavar="NAME", help="Configuration of the data set, if DATA is on the hub."),
        click.option("--revision", metavar="NAME", help="Branch, tag or commit, if DATA is hf://datasets/ORG/NAME."),
    ):
        command = decorate(command)
    return command


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument DATA with ``--format``, ``--shape``, ``--column``, ``--limit``, ``--unreadable``, and the
    options of :func:`hub_options` and :func:`turn_options`.

    The command gets two arguments: ``data``, a :class:`rt_framework.cli.options.Data`, and ``limit``, the largest
    number of samples to read, or ``None``. :func:`rt_framework.cli.options.open_source` takes both.
    """

    @functools.wraps(command)
    def gathered(
        *args: Any,
        data: str,
        format_: str | None,
        shape: str | None,
        columns: tuple[str, ...],
        **options: Any,
    ) -> Any:
        from rt_framework.config import Data

        further = {key: options.pop(key) for key in FURTHER}
        return command(*args, data=Data(data, format_, shape, pairs(columns, "--column"), **further), **options)

    argument = click.argument("data", type=click.Path())
    return limit_option(reading_options(unreadable_option(turn_options(hub_options(argument(gathered))))))


def pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """Return ``KEY=VALUE`` options as a mapping.

    Raises:
        click.UsageError: a value has no ``=``.
    """
    for value in values:
        if "=" not in value:
            raise click.UsageError(f"{option} {value}: expected KEY=VALUE")
    return dict(value.split("=", 1) for value in values)
