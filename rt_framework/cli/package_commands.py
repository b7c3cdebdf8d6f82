"""Commands that installed packages bring: listed from metadata, imported when they are called."""

from __future__ import annotations

from collections.abc import Container, Sequence
from importlib.metadata import EntryPoint

import click

from rt_framework.errors import PluginError, described
from rt_framework.kit.packages import entry_points, packaged
from rt_framework.kit.stdout import others_to_stderr

GROUP = "rt_framework.commands"
"""Entry-point group of commands."""


def installed_commands(built_in: Container[str]) -> list[EntryPoint]:
    """Return the commands of packages, sorted by name. A package that is found twice on the path counts once.

    Args:
        built_in: names of the built-in commands, which no package can replace.
    """
    points = {(point.name, point.value): point for point in entry_points(GROUP)}
    return sorted((point for point in points.values() if point.name not in built_in), key=lambda point: point.name)


def package_of(point: EntryPoint) -> str:
    """Return the name of the package that brings a command."""
    return packaged(point)[0] or "?"


def load(points: Sequence[EntryPoint]) -> click.Command:
    """Import the command of one name.

    Raises:
        PluginError: two packages offer the command, or it cannot be imported.
    """
    name, packages = points[0].name, " and ".join(f"'{package_of(point)}'" for point in points)
    if len(points) > 1:
        raise PluginError(f"command '{name}' is offered by packages {packages}; uninstall one of them")
    try:
        with others_to_stderr():
            command = points[0].load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"command '{name}' of package {packages} failed to load from {points[0].value}: {described(error)}"
        ) from error
    if not isinstance(command, click.Command):
        raise PluginError(f"command '{name}' of package {packages}: {points[0].value} is no Click command")
    return command
