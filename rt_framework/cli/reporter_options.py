"""Reporters of a command: the option that names them, and their life around the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rt_framework.cli.names import name_option, parts
from rt_framework.plugin import Host

reporter_option = name_option(
    "--reporter",
    "reporter_names",
    names=parts("reporters"),
    multiple=True,
    default=("console",),
    metavar="NAME",
    help="Reporter of the progress; options as NAME:VALUE or '{NAME: {KEY: VALUE}}'.",
    show_default=True,
)
"""Option ``--reporter NAME``, which may be given more than once; the command gets ``reporter_names``."""


@contextmanager
def watching(host: Host, names: Sequence[str]) -> Iterator[list[Any]]:
    """Build the reporters of these names, and close them after the block, so that they always restore the terminal.

    Inside the block only reporters write to standard output; all other output goes to standard error. Print results
    after the block.

    Raises:
        PluginError: a reporter is unknown or cannot be built.
        ConfigError: the options of a reporter do not fit its settings.
    """
    from rt_framework.config import spec_of
    from rt_framework.jobs import reporters

    with reporters.watching(host, [spec_of(name, "--reporter") for name in names]) as watchers:
        yield watchers
