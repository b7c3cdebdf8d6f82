"""The plugin host: finds the parts that a command names, and notes the ones that it uses.

Names of built-in parts are reserved, so a command that names built-in parts only imports no installed plugin: entry
points are imported when a name is looked up that no built-in part has. The host is an object, made by the command line
and passed down.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import metadata

from attrs import frozen

from rt_framework.errors import PluginError
from rt_framework.hookspecs import API, singular
from rt_framework.plugin.loading import BUILTIN_NAME, Discovered, Failed, Loader, Wanted
from rt_framework.plugin.origin import Origin, of_package, origin_of_plugin
from rt_framework.plugin.pluggy_hooks import API_NAME, dotted
from rt_framework.plugin.registry import Entry, Registry
from rt_framework.plugin.reporters import Reporters
from rt_framework.text import suggestion

GIVEN = "given as an object"
"""Stands for the plugin of a part that the calling program gave."""


@frozen
class Used:
    """A part that was built for a command's work, with the origin of its code."""

    entry: Entry
    settings: object
    """The part's settings; ``None`` where it takes none."""
    package: str
    """The package that brought it; empty for a module or file that the user named. So is the version."""
    version: str
    origin: Origin


class Host:
    """Finder and loader of plugins.

    Args:
        blocked: plugin names that are never loaded (``-p no:NAME``).
        only: entry points to load, by name; ``None`` loads all (``RT_LOAD_PLUGINS``).
        modules: further modules to load as plugins (``-p MODULE``); the user named these, so each must load.
        strict: raise when any plugin fails, used or not.
    """

    def __init__(
        self,
        blocked: Iterable[str] = (),
        only: Iterable[str] | None = None,
        modules: Sequence[str] = (),
        strict: bool = False,
    ) -> None:
        only_these = None if only is None else frozenset(only)
        self._loader = Loader(Wanted(frozenset(blocked), only_these, tuple(modules)), strict)
        self._used: dict[tuple[str, str, str], tuple[Entry, object, Origin]] = {}

    @property
    def registry(self) -> Registry:
        """Everything that the loaded plugins offer."""
        return self._loader.registry

    @property
    def failed(self) -> list[Failed]:
        """The plugins that failed to load."""
        return self._loader.failed

    def discovered(self) -> list[Discovered]:
        """Return the installed plugin packages in the order in which they load. Only metadata is read."""
        return self._loader.discovered()

    def load(self, only: str | None = None) -> None:
        """Load every wanted plugin, or only those of one name, each once.

        Raises:
            PluginError: a plugin failed, and the host is strict or the plugin was named as a module to load.
        """
        self._loader.load(only)

    def find(self, kind: str, name: str) -> Entry:
        """Return the one entry of that kind and name.

        Raises:
            PluginError: the name is unknown (the message has the nearest name, the known names and the plugins that
                failed), or is offered by two plugins.
        """
        offered = self.registry.offered(kind, name)
        # The name of a built-in part is reserved, so no installed plugin has to be imported to know what it means.
        if not self._loader.strict and [entry.plugin for entry in offered] == [BUILTIN_NAME]:
            self._loader.load_modules()
        else:
            self.load()
            offered = self.registry.offered(kind, name)
        if len(offered) > 1:
            plugins = " and ".join(f"'{entry.plugin}'" for entry in offered)
            raise PluginError(
                f"{singular(kind)} '{name}' is offered by plugins {plugins}; leave one out with -p no:NAME"
            )
        if not offered:
            known = self.registry.names(kind)
            text = f"unknown {singular(kind)} '{name}'.{suggestion(name, known)} Known: {', '.join(known)}."
            raise PluginError(" ".join([text, *(f"Note: {failure}." for failure in self.failed)]))
        return offered[0]

    def use(self, entry: Entry, settings: object = None) -> None:
        """Note that this command has built the plugin of *entry* for its work, with these settings.

        The origin of its code is noted now, since the checkout may be another one when the command ends.
        """
        origin = origin_of_plugin(self._loader.manager.get_plugin(entry.plugin))
        self._used[entry.kind, entry.name, repr(settings)] = (entry, settings, origin)

    def use_given(self, kind: str, name: str, part: object) -> None:
        """Note that a part is used which the calling program gave as an object."""
        cls = type(part)
        entry = Entry(kind, name, f"{cls.__module__}:{cls.__qualname__}", "", None, GIVEN)
        self._used[kind, name, entry.target] = (entry, None, origin_of_plugin(cls))

    def used(self) -> list[Used]:
        """Return the parts that were built, by kind and name, each once for each of its settings.

        Reporters affect no result and are left out.
        """
        packages = {plugin.name: (plugin.package, plugin.version) for plugin in self.discovered()}
        packages[BUILTIN_NAME] = ("rt-framework", metadata.version("rt-framework"))
        parts = []
        for key in sorted(self._used):
            entry, settings, origin = self._used[key]
            package, version = packages.get(entry.plugin, ("", ""))
            if entry.kind != "reporters":
                known = of_package(origin, package) if package else origin
                parts.append(Used(entry, settings, package, version, known))
        return parts

    def api_of(self, plugin: str) -> str:
        """Return the plugin API version that a loaded plugin was written for; the host's own where it does not say."""
        return dotted(getattr(self._loader.manager.get_plugin(plugin), API_NAME, API))

    def reporters(self, objects: Iterable[object]) -> Reporters:
        """Return the dispatcher of one run's events to these reporters."""
        return Reporters(objects, self._loader.strict)
