"""The output of ``rt plugins show``."""

from __future__ import annotations

from rt_framework.cli.names import known
from rt_framework.errors import PluginError
from rt_framework.jobs.looking.plugin_parts import part_of
from rt_framework.jobs.looking.plugin_shown import ToldOrigin, ToldPlugin
from rt_framework.plugin import Entry, Host
from rt_framework.terminal.printing import line, stdout, table
from rt_framework.text import suggestion


def told_plugin(host: Host, name: str) -> ToldPlugin:
    """Return the plugin called *name*, or every part of that name.

    Raises:
        PluginError: as :func:`found`.
    """
    entries = found(host, name)
    plugins = dict.fromkeys(entry.plugin for entry in entries)
    return ToldPlugin(
        tuple(_origin(host, plugin) for plugin in plugins), tuple(part_of(entry, whole=True) for entry in entries)
    )


def show_plugin(told: ToldPlugin) -> None:
    """Print a plugin, or every part of one name."""
    console = stdout()
    for one in told.plugins:
        package = f", package {one.package} {one.version}" if one.package else ""
        console.print(line(f"plugin {one.name}{package}, plugin API {one.api}"))
    for part in told.parts:
        console.print(line(f"{part.kind} {part.name}: {part.help or 'no description'}"))
        console.print(line(f"  from plugin {part.plugin}, {part.target}"))
        options = [(option.name, option.type, option.default, option.help) for option in part.options or ()]
        if options:
            console.print(table("  options", ("name", "type", "default", "what it is"), options))


def found(host: Host, name: str) -> list[Entry]:
    """Return the parts that the plugin called *name* offers, or all parts of that name.

    Raises:
        PluginError: nothing has that name, or the plugin failed to load.
    """
    host.load(name)
    entries = _called(host, name)
    if not entries and not any(failure.plugin == name for failure in host.failed):
        host.load()
        entries = _called(host, name)
    failed = [failure for failure in host.failed if failure.plugin == name]
    if failed:
        raise PluginError(str(failed[0]))
    if not entries:
        near = suggestion(name, known(host))
        raise PluginError(f"no plugin or part is called '{name}'.{near} See 'rt plugins list'.")
    return entries


def _called(host: Host, name: str) -> list[Entry]:
    return [entry for entry in host.registry.entries() if name in (entry.name, entry.plugin)]


def _origin(host: Host, plugin: str) -> ToldOrigin:
    """Return the package of a plugin and the plugin API for which it was written."""
    found = next((one for one in host.discovered() if one.name == plugin), None)
    package = found if found and found.package else None
    return ToldOrigin(
        plugin, package.package if package else None, package.version if package else None, host.api_of(plugin)
    )
