"""Names of lazily imported targets: what exists, which plugin offers it, and clear errors for what does not exist."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import attrs
from attrs import frozen

from rt_framework.errors import ConfigError, PluginError, described
from rt_framework.hookspecs import KINDS, singular
from rt_framework.plugin.options import Option, options_of
from rt_framework.text import suggestion

T = TypeVar("T")


@frozen
class Entry:
    """One name that a plugin offers."""

    kind: str
    name: str
    target: str
    help: str
    declared: type | str | None
    """The settings class as it was registered, perhaps as ``module:Class``."""
    plugin: str
    """Name of the plugin that registered it."""

    @property
    def settings(self) -> type | None:
        """The attrs class of the options, which is imported now if it was registered by its place.

        Raises:
            PluginError: it cannot be imported, or is no attrs class.
        """
        if not isinstance(self.declared, str):
            return self.declared
        found: type = self._imported(self.declared, "settings of ")
        _check_settings(self.name, found)
        return found

    def options(self) -> list[Option]:
        """Return the options that the settings class declares, in order.

        Raises:
            PluginError: the settings class cannot be understood.
        """
        try:
            return options_of(self.settings)
        except Exception as error:
            raise PluginError(
                f"{singular(self.kind)} '{self.name}' of plugin '{self.plugin}' has settings that cannot be read: "
                f"{described(error)}"
            ) from error

    def load(self) -> Any:
        """Import and return the target.

        Raises:
            PluginError: the target cannot be imported, or the module has no such attribute.
        """
        return self._imported(self.target)

    def _imported(self, place: str, what: str = "") -> Any:
        module, _, attribute = place.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{what}{singular(self.kind)} '{self.name}' of plugin '{self.plugin}' failed to load from "
                f"{place}: {described(error)}"
            ) from error


def _check_settings(name: str, settings: object) -> None:
    if not (isinstance(settings, type) and attrs.has(settings)):
        raise PluginError(f"settings of '{name}' are no attrs class: {settings!r}")


class Collector:
    """The ``register`` argument of one hook of one plugin. It collects; the host then adds all entries or none."""

    def __init__(self, kind: str, plugin: str) -> None:
        self.kind = kind
        self.plugin = plugin
        self.entries: list[Entry] = []

    def __call__(self, name: str, target: str, *, help: str = "", settings: type | str | None = None) -> None:
        """Check and collect one entry; see :class:`rt_framework.hookspecs.Register`."""
        if not isinstance(name, str) or not name or name != name.strip():
            raise PluginError(f"{singular(self.kind)} name {name!r} is not a non-empty string")
        if any(char in name for char in "@/:"):
            raise PluginError(f"{singular(self.kind)} name {name!r} has one of '@', '/', ':', which stand behind names")
        if not isinstance(target, str) or not all(target.partition(":")):
            raise PluginError(f"target {target!r} of '{name}' is not of the form 'package.module:Attribute'")
        if isinstance(settings, str):
            if not all(settings.partition(":")):
                raise PluginError(f"settings {settings!r} of '{name}' are not of the form 'package.module:Class'")
        elif settings is not None:
            _check_settings(name, settings)
        if any(entry.name == name for entry in self.entries):
            raise PluginError(f"{singular(self.kind)} '{name}' is registered twice")
        self.entries.append(Entry(self.kind, name, target, help, settings, self.plugin))


def named(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return the entry of *table* called *name*.

    Raises:
        ConfigError: there is no such entry; the message names the nearest one and all others.
    """
    if name not in table:
        raise ConfigError(f"unknown {kind} '{name}'.{suggestion(name, table)} Known: {', '.join(table)}.")
    return table[name]


class Registry:
    """All entries, by kind and name. If two plugins offer one name, this is an error only when the name is used."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, list[Entry]]] = {kind: {} for kind in KINDS}

    def add(self, entries: Iterable[Entry]) -> None:
        """Add the entries of one plugin."""
        for entry in entries:
            self._entries[entry.kind].setdefault(entry.name, []).append(entry)

    def names(self, kind: str) -> list[str]:
        """Return the known names of a kind, sorted."""
        return sorted(self._entries[kind])

    def entries(self) -> list[Entry]:
        """Return every entry, sorted by kind as declared, then by name."""
        return [entry for names in self._entries.values() for name in sorted(names) for entry in names[name]]

    def offered(self, kind: str, name: str) -> list[Entry]:
        """Return every entry of that name, perhaps none."""
        return list(self._entries[kind].get(name, ()))

    def clashes(self) -> list[tuple[str, str, list[str]]]:
        """Return kind, name and plugins of every name that more than one plugin offers."""
        return [
            (kind, name, [entry.plugin for entry in entries])
            for kind, names in self._entries.items()
            for name, entries in sorted(names.items())
            if len(entries) > 1
        ]
