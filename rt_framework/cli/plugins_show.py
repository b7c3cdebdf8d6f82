"""The output of ``rt plugins show``."""

from __future__ import annotations

from rt_framework.cli.names import known
from rt_framework.errors import PluginError
from rt_framework.hookspecs import singular
from rt_framework.plugin import Entry, Host
from rt_framework.terminal import line, stdout, table
from rt_framework.text import suggestion


def describe(host: Host, name: str) -> None:
    """Print the plugin called *name*, or every part of that name.

    Raises:
        PluginError: as :func:`found`.
    """
    entries = found(host, name)
    console = stdout()
    for plugin in dict.fromkeys(entry.plugin for entry in entries):
        console.print(line(_origin(host, plugin)))
    for entry in entries:
        console.print(line(f"{singular(entry.kind)} {entry.name}: {entry.help or 'no description'}"))
        console.print(line(f"  from plugin {entry.plugin}, {entry.target}"))
        options = [(one.name, one.kind, one.shown, one.help) for one in entry.options()]
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


def _origin(host: Host, plugin: str) -> str:
    """Return a line with the package of a plugin and the plugin API for which it was written."""
    found = next((one for one in host.discovered() if one.name == plugin), None)
    package = f", package {found.package} {found.version}" if found and found.package else ""
    return f"plugin {plugin}{package}, plugin API {host.api_of(plugin)}"
