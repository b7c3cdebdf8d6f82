"""What ``rt plugins show`` prints."""

from __future__ import annotations

from typing import Any

from attrs import NOTHING, fields

from rt_framework.console import line, stdout, table
from rt_framework.errors import PluginError
from rt_framework.host import Host
from rt_framework.registry import Entry, suggestion


def describe(host: Host, name: str) -> None:
    """Print the plugin called *name*, or every part of that name.

    Raises:
        PluginError: nothing is called so, or the plugin failed to load.
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
        known = {entry.name for entry in host.registry.entries()} | {plugin.name for plugin in host.discovered()}
        raise PluginError(f"nothing is called '{name}'.{suggestion(name, known)} See 'rt plugins list'.")
    console = stdout()
    for entry in entries:
        console.print(line(f"{entry.kind[:-1]} {entry.name}: {entry.help or 'no description'}"))
        console.print(line(f"  from plugin {entry.plugin}, {entry.target}"))
        if entry.settings is not None:
            console.print(table("  options", ("name", "type", "default"), _options(entry)))


def _called(host: Host, name: str) -> list[Entry]:
    return [entry for entry in host.registry.entries() if name in (entry.name, entry.plugin)]


def _options(entry: Entry) -> list[tuple[str, str, str]]:
    settings: Any = entry.settings
    return [(field.name, _type(field.type), _default(field.default)) for field in fields(settings)]


def _type(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _default(value: Any) -> str:
    if value is NOTHING:
        return "required"
    return repr(value.factory()) if hasattr(value, "factory") else repr(value)
