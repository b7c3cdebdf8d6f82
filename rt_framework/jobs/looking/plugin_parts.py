"""Plugins, their parts and the options of these."""

from __future__ import annotations

from attrs import frozen

from rt_framework.hookspecs import singular
from rt_framework.plugin import Entry, Option


@frozen
class ToldOption:
    """An option of a part."""

    name: str
    """The key that users write."""
    type: str
    """The type, in a few words for people."""
    default: str
    """The default as text for people; ``required`` where a value has to be given."""
    help: str
    """The meaning."""


@frozen
class ToldPart:
    """A part that a plugin offers."""

    kind: str
    """Its kind, such as ``metric``."""
    name: str
    """Its name, as in a config."""
    help: str
    """The meaning."""
    plugin: str
    """Plugin that offers it; ``builtin`` for the built-in parts."""
    target: str
    """The code, as ``module:attribute``."""
    options: tuple[ToldOption, ...] | None
    """Its options; null in the output of ``rt plugins list``."""


@frozen
class ToldPackage:
    """An installed plugin or command, and the package that it comes from."""

    name: str
    """Name of the plugin or command."""
    package: str | None
    """Name of the package; null for a module or file that ``-p`` names."""
    version: str | None
    """Version of the package."""


@frozen
class ToldPlugins:
    """The parts, plugins and commands that are there."""

    built_in: tuple[ToldPart, ...]
    """The built-in parts."""
    plugins: tuple[ToldPackage, ...]
    """Installed plugins."""
    commands: tuple[ToldPackage, ...]
    """Installed commands."""
    parts: tuple[ToldPart, ...] | None
    """The parts that the installed plugins offer; null without ``--load``."""
    failures: tuple[str, ...]
    """A line for each plugin or command that failed to load."""


def part_of(entry: Entry, whole: bool = False) -> ToldPart:
    """Return a part that a plugin offers; with its options if it is wanted *whole*.

    Raises:
        PluginError: the options cannot be understood.
    """
    options = tuple(map(_option, entry.options())) if whole else None
    return ToldPart(singular(entry.kind), entry.name, entry.help, entry.plugin, entry.target, options)


def _option(option: Option) -> ToldOption:
    return ToldOption(option.name, option.kind, option.shown, option.help)
