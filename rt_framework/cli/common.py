"""Options and helpers that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from rt_framework.cli.numbers import Whole
from rt_framework.kit.stdout import others_to_stderr
from rt_framework.plugin import Host, close_reporters

F = TypeVar("F", bound=Callable[..., Any])


limit_option = click.option("--limit", type=Whole(1), help="Read only so many samples.")
reporter_option = click.option(
    "--reporter",
    "reporter_names",
    multiple=True,
    default=("console",),
    metavar="NAME",
    help="Who watches; options as NAME:VALUE or '{NAME: {KEY: VALUE}}'.",
    show_default=True,
)
moved_option = click.option(
    "--moved", is_flag=True, help="The teacher's server has moved: take the answers of its new place beside the others."
)
"""Option of every command that asks a teacher."""
overwrite_option = click.option("--overwrite", is_flag=True, help="A file of yours that is there may go.")
"""Option of every command that writes to a path that the user gives."""


def data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument DATA and the options for reading it; the command gets them as ``data`` and ``limit``."""

    @functools.wraps(command)
    def gathered(
        *args: Any,
        data: Path,
        format_: str | None,
        shape: str | None,
        columns: tuple[str, ...],
        **options: Any,
    ) -> Any:
        from rt_framework.config import Data

        return command(*args, data=Data(str(data), format_, shape, pairs(columns, "--column")), **options)

    for decorate in (
        click.argument("data", type=click.Path(path_type=Path)),
        click.option("--format", "format_", metavar="NAME", help="Format of DATA; found by itself when left out."),
        click.option("--shape", metavar="NAME", help="Shape of its columns; found by itself when left out."),
        click.option("--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="Our field to your column."),
        limit_option,
    ):
        gathered = decorate(gathered)
    return gathered


def pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """Return ``KEY=VALUE`` options as a mapping.

    Raises:
        click.UsageError: a value has no ``=``.
    """
    for value in values:
        if "=" not in value:
            raise click.UsageError(f"{option} {value}: expected KEY=VALUE")
    return dict(value.split("=", 1) for value in values)


@contextmanager
def watching(host: Host, names: Sequence[str]) -> Iterator[list[Any]]:
    """Build the reporters of these names and close them after the block, so that they restore the terminal in any case.

    Inside the block only reporters write to standard output; all other output goes to standard error.
    """
    from rt_framework.config import Builder, spec_of

    make = Builder(host)
    with others_to_stderr():
        watchers = [make.spec("reporters", spec_of(name, "--reporter")) for name in names]
        try:
            yield watchers
        finally:
            close_reporters(watchers)
