"""The work of ``rt plugins new``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from rt_framework.hookspecs import KINDS, singular
from rt_framework.jobs.scaffold import COMMAND
from rt_framework.jobs.scaffold import KINDS as PARTS
from rt_framework.jobs.scaffold.package import Part
from rt_framework.jobs.scaffold.writing import write_package
from rt_framework.plugin import Host


def parts_of(ctx: click.Context, parameter: click.Parameter, values: Sequence[str]) -> list[Part]:
    """Return the parts that an option names as ``KIND``, or as ``KIND:PART``. The name of the former is empty.

    Raises:
        click.BadParameter: there is no such kind.
    """
    split = (value.partition(":") for value in values)
    return [Part(click.Choice(PARTS).convert(kind, parameter, ctx), name) for kind, _, name in split]


def write_new(host: Host, name: str, parts: Sequence[Part], commands: Sequence[str]) -> None:
    """Write a package with these parts, and print its files and what to do next.

    Args:
        host: knows the names that plugins and parts have.
        name: name of the package; a part without a name is called so, without ``rt-`` in front.
        parts: the parts.
        commands: names of all commands.

    Raises:
        RtError: as :func:`rt_framework.jobs.scaffold.writing.write_package`.
    """
    taken = {singular(kind): host.registry.names(kind) for kind in KINDS}
    taken |= {"plugin": ["builtin", *(plugin.name for plugin in host.discovered())], COMMAND: list(commands)}
    named = [Part(part.kind, part.name or name.removeprefix("rt-")) for part in parts]
    for path in write_package(name, named, Path(name), taken):
        click.echo(path)
    click.echo(f"Next: cd {name} && pip install -e '.[test]' && pytest")
