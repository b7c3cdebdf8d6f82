"""Loading of plugins: which there are, which are wanted, and which plugin caused a failure."""

from __future__ import annotations

import importlib
from typing import Any

from attrs import field, frozen

from rt_framework.errors import PluginError, described
from rt_framework.hookspecs import GROUP, KINDS, RegistrationHooks, singular
from rt_framework.kit.packages import entry_points, packaged
from rt_framework.kit.stdout import others_to_stderr
from rt_framework.plugin.pluggy_hooks import check_api, check_hooks, manager_of, register
from rt_framework.plugin.registry import Collector, Entry, Registry

BUILTIN_NAME = "builtin"
"""Name of the plugin that offers the built-in parts."""

BUILTIN = "rt_framework.builtin.hooks"
"""Module of the built-in plugins, found by name like any plugin: core never imports it."""

_REGISTRATION = tuple(f"rt_register_{kind}" for kind in KINDS)


@frozen
class Failed:
    """A plugin that failed to load, with the reason."""

    plugin: str
    version: str
    phase: str
    """Step of the loading that failed: ``import``, ``version``, ``hooks`` or ``register``."""
    error: BaseException = field(eq=False)

    def __str__(self) -> str:
        which = f"plugin '{self.plugin}' {self.version}".rstrip()
        return f"{which} failed in {self.phase}: {described(self.error)}"


@frozen
class Discovered:
    """A plugin as its package's metadata describes it; nothing is imported."""

    name: str
    package: str
    version: str
    module: str


@frozen
class Wanted:
    """Choice of the plugins to load."""

    blocked: frozenset[str]
    """Names of plugins that are never loaded."""
    only: frozenset[str] | None
    """Names of the installed plugins to load; ``None`` for all."""
    modules: tuple[str, ...]
    """Further modules to load as plugins; the user named these, so each must load."""

    def allows(self, name: str) -> bool:
        """Return whether an installed plugin may be loaded."""
        return name not in self.blocked and (self.only is None or name in self.only)


class Loader:
    """Loader of plugins: each is loaded once and separately, completely or not at all.

    Args:
        wanted: which plugins to load.
        strict: raise when any plugin fails.
    """

    def __init__(self, wanted: Wanted, strict: bool) -> None:
        self.registry = Registry()
        self.manager = manager_of(RegistrationHooks)
        self.failed: list[Failed] = []
        self.strict = strict
        self._wanted = wanted
        self._loaded: set[tuple[str, str]] = set()
        self._complete = False
        self._modules_complete = False
        self._load(BUILTIN_NAME, "", BUILTIN)

    def discovered(self) -> list[Discovered]:
        """Return the installed plugin packages in the order in which they load. Only metadata is read."""
        plugins = {
            (point.name, point.value): Discovered(point.name, *packaged(point), point.value)
            for point in entry_points(GROUP)
            if self._wanted.allows(point.name)
        }
        return sorted(plugins.values(), key=lambda plugin: (plugin.name, plugin.package))

    def load(self, only: str | None = None) -> None:
        """Load every wanted plugin, or only those of one name, each once.

        Raises:
            PluginError: a plugin failed, and the host is strict or the plugin was named as a module to load.
        """
        if self._complete:
            return
        self._complete = only is None
        for plugin in self.discovered():
            if only in (None, plugin.name):
                self._load_once(plugin.name, plugin.version, plugin.module)
        self.load_modules(only)

    def load_modules(self, only: str | None = None) -> None:
        """Load the modules that the user named; one that is an installed plugin has the plugin's name."""
        if self._modules_complete:  # every look-up of a part calls this, and reading all metadata takes 10 ms
            return
        installed = {plugin.module: plugin for plugin in self.discovered()} if self._wanted.modules else {}
        for module in self._wanted.modules:
            plugin = installed.get(module)
            name, version = (plugin.name, plugin.version) if plugin else (module, "")
            if only in (None, name) and module not in self._wanted.blocked:
                self._load_once(name, version, module)
        self._modules_complete = only is None

    def _load_once(self, name: str, version: str, module: str) -> None:
        if (name, module) not in self._loaded:
            self._loaded.add((name, module))
            with others_to_stderr():
                self._load(name, version, module)

    def _load(self, name: str, version: str, module: str) -> None:
        """Load one plugin completely or not at all, and record a failure with the step that failed."""
        phase = "import"
        plugin: Any = None
        try:
            plugin = _import(module)
            if self.manager.is_registered(plugin):
                return  # one module under two names: everything it offers is registered
            phase = "version"
            check_api(plugin)
            phase = "hooks"
            check_hooks(self.manager, plugin, _REGISTRATION, "rt_register_", needed="register")
            if self.manager.has_plugin(name):
                raise PluginError(f"another plugin is called '{name}' too; uninstall one of them")
            register(self.manager, plugin, f"plugin '{name}'", name, self.strict)
            self.manager.check_pending()
            phase = "register"
            entries = self._collect(name, plugin)
        except (Exception, SystemExit) as error:
            self._forget(plugin)
            failure = Failed(name, version, phase, error)
            self.failed.append(failure)
            if self.strict or name == BUILTIN_NAME or module in self._wanted.modules:
                raise PluginError(str(failure)) from error
        else:
            self.registry.add(entries)

    def _collect(self, name: str, plugin: object) -> list[Entry]:
        others = [other for other in self.manager.get_plugins() if other is not plugin]
        entries: list[Entry] = []
        for kind in KINDS:
            collector = Collector(kind, name)
            self.manager.subset_hook_caller(f"rt_register_{kind}", others)(register=collector)
            entries += collector.entries
        for entry in entries:
            if any(other.plugin == BUILTIN_NAME for other in self.registry.offered(entry.kind, entry.name)):
                raise PluginError(
                    f"it offers the {singular(entry.kind)} '{entry.name}', which is the name of a built-in one; "
                    "give it another name"
                )
        return entries

    def _forget(self, plugin: object) -> None:
        """Remove every trace of a failed plugin: a failed registration can leave its name taken."""
        if plugin is not None and self.manager.is_registered(plugin):
            self.manager.unregister(plugin)


def _import(module: str) -> Any:
    """Return the plugin object that an entry point names: a module, or an attribute of one."""
    name, _, attribute = module.partition(":")
    plugin: Any = importlib.import_module(name)
    for part in attribute.split(".") if attribute else ():
        plugin = getattr(plugin, part)
    return plugin
