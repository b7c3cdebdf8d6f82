"""The output of ``rt plugins list``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint

from rt_framework.cli.package_commands import load
from rt_framework.errors import PluginError
from rt_framework.hookspecs import singular
from rt_framework.plugin import Host, packaged
from rt_framework.terminal import line, stdout, table
from rt_framework.text import without_secrets

_NOTHING = "No other plugins are installed."


def show_list(host: Host, commands: Sequence[EntryPoint]) -> None:
    """Print the built-in parts, and the packages that are installed, by their metadata alone."""
    console = stdout()
    entries = [(singular(entry.kind), entry.name, entry.help) for entry in host.registry.entries()]
    console.print(table("Built in", ("kind", "name", "what it is"), entries))
    plugins = [(plugin.name, plugin.package, plugin.version) for plugin in host.discovered()]
    if plugins:
        console.print(table("Installed plugins", ("plugin", "package", "version"), plugins))
    if commands:
        offered = [(point.name, *packaged(point)) for point in commands]
        console.print(table("Installed commands", ("command", "package", "version"), offered))
    if plugins or commands:
        console.print("'rt plugins list --load' imports them and lists what they offer, 'rt plugins show NAME' one.")
    else:
        console.print(_NOTHING)


def show_offers(host: Host, commands: Sequence[EntryPoint]) -> None:
    """Import everything that is installed, print what it offers, and then a line for each failure.

    Raises:
        PluginError: a module that the user named as a plugin failed to load.
    """
    built_in = set(host.registry.entries())
    host.load()
    packages = {plugin.name: (plugin.package, plugin.version) for plugin in host.discovered()}
    rows = [
        (singular(entry.kind), entry.name, entry.help, *packages.get(entry.plugin, (entry.plugin, "")))
        for entry in host.registry.entries()
        if entry not in built_in
    ]
    failures = [str(failure) for failure in host.failed]
    for point in commands:
        try:
            rows.append(("command", point.name, load([point]).get_short_help_str(100), *packaged(point)))
        except PluginError as error:
            failures.append(str(error))
    console = stdout()
    if rows:
        console.print(table("Installed", ("kind", "name", "what it is", "package", "version"), rows))
    elif not failures:
        console.print(_NOTHING)
    for failure in failures:
        console.print(line(without_secrets(failure)))
