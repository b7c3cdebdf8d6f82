"""The plugin host: finds plugins, loads each on its own, and says which plugin caused a failure.

Names of built-in parts are reserved, so a command that names built-in parts only imports no installed plugin: entry
points are imported when a name is looked up that no built-in part has. The host is an object, made by the command line
and passed down.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pluggy
from attrs import field, frozen

from rt_framework.errors import PluginError
from rt_framework.hookspecs import API, GROUP, KINDS, EventHooks, RegistrationHooks
from rt_framework.kit.stdout import others_to_stderr
from rt_framework.plugin.origin import Origin, of_package, origin_of_plugin
from rt_framework.plugin.registry import Collector, Entry, Registry, suggestion
from rt_framework.text import shown, without_secrets

_log = logging.getLogger("rt_framework")

BUILTIN_NAME = "builtin"
"""Name of the plugin that offers the built-in parts."""

BUILTIN = "rt_framework.builtin.hooks"
"""Module of the built-in plugins, found by name like any plugin: core never imports it."""

API_NAME = "RT_PLUGIN_API"
"""Attribute in which a plugin says which version of :data:`rt_framework.hookspecs.API` it was written for."""

_NOT_PLUGINS = tuple(
    f"{Path(str(module)).parent}{os.sep}" for module in (__file__, pluggy.__file__, importlib.__file__)
)

_REGISTRATION = tuple(f"rt_register_{kind}" for kind in KINDS)
_EVENTS = tuple(name for name in vars(EventHooks) if name.startswith("rt_"))


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
        return f"{which} failed in {self.phase}: {type(self.error).__name__}: {self.error}{_place(self.error)}"


@frozen
class Discovered:
    """A plugin as its package's metadata describes it; nothing is imported."""

    name: str
    package: str
    version: str
    module: str


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
        self.registry = Registry()
        self.failed: list[Failed] = []
        self._blocked = frozenset(blocked)
        self._only = None if only is None else frozenset(only)
        self._modules = tuple(modules)
        self._strict = strict
        self._loaded: set[tuple[str, str]] = set()
        self._used: dict[tuple[str, str, str], tuple[Entry, object, Origin]] = {}
        self._complete = False
        self._manager = _manager(RegistrationHooks)
        self._load(BUILTIN_NAME, "", BUILTIN)

    def discovered(self) -> list[Discovered]:
        """Return the installed plugin packages in the order in which they load. Only metadata is read."""
        found = {
            (point.name, point.value): Discovered(point.name, *packaged(point), point.value)
            for point in metadata.entry_points(group=GROUP)
            if self._wanted(point.name)
        }
        return sorted(found.values(), key=lambda plugin: (plugin.name, plugin.package))

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
        self._load_modules(only)

    def find(self, kind: str, name: str) -> Entry:
        """Return the one entry of that kind and name.

        Raises:
            PluginError: the name is unknown (the message has the nearest name, the known names and the plugins that
                failed), or is offered by two plugins.
        """
        offered = self.registry.offered(kind, name)
        # The name of a built-in part is reserved, so no installed plugin has to be imported to know what it means.
        if not self._strict and [entry.plugin for entry in offered] == [BUILTIN_NAME]:
            self._load_modules()
        else:
            self.load()
            offered = self.registry.offered(kind, name)
        if len(offered) > 1:
            plugins = " and ".join(f"'{entry.plugin}'" for entry in offered)
            raise PluginError(f"{kind[:-1]} '{name}' is offered by plugins {plugins}; leave one out with -p no:NAME")
        if not offered:
            known = self.registry.names(kind)
            text = f"unknown {kind[:-1]} '{name}'.{suggestion(name, known)} Known: {', '.join(known)}."
            raise PluginError(" ".join([text, *(f"Note: {failure}." for failure in self.failed)]))
        return offered[0]

    def use(self, entry: Entry, settings: object = None) -> None:
        """Note that this command has built the plugin of *entry* for its work, with these settings.

        The origin of its code is noted now, since the checkout may be another one when the command ends.
        """
        origin = origin_of_plugin(self._manager.get_plugin(entry.plugin))
        self._used[entry.kind, entry.name, repr(settings)] = (entry, settings, origin)

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
        return _dotted(getattr(self._manager.get_plugin(plugin), API_NAME, API))

    def reporters(self, objects: Iterable[object]) -> Reporters:
        """Return the dispatcher of one run's events to these reporters."""
        return Reporters(objects, self._strict)

    def _wanted(self, name: str) -> bool:
        return name not in self._blocked and (self._only is None or name in self._only)

    def _load_modules(self, only: str | None = None) -> None:
        """Load the modules that the user named; one that is an installed plugin has the plugin's name."""
        installed = {plugin.module: plugin for plugin in self.discovered()} if self._modules else {}
        for module in self._modules:
            plugin = installed.get(module)
            name, version = (plugin.name, plugin.version) if plugin else (module, "")
            if only in (None, name) and module not in self._blocked:
                self._load_once(name, version, module)

    def _load_once(self, name: str, version: str, module: str) -> None:
        if (name, module) not in self._loaded:
            self._loaded.add((name, module))
            with others_to_stderr():
                self._load(name, version, module)

    def _load(self, name: str, version: str, module: str) -> None:
        """Load one plugin whole or not at all, and record a failure with the step that failed."""
        phase = "import"
        plugin: Any = None
        try:
            plugin = _import(module)
            if self._manager.is_registered(plugin):
                return  # one module under two names: everything it offers is registered
            phase = "version"
            _check_api(plugin)
            phase = "hooks"
            _check_hooks(self._manager, plugin, _REGISTRATION, "rt_register_", needed="register")
            if self._manager.has_plugin(name):
                raise PluginError(f"another plugin is called '{name}' too; uninstall one of them")
            _register(self._manager, plugin, f"plugin '{name}'", name, self._strict)
            self._manager.check_pending()
            phase = "register"
            entries = self._collect(name, plugin)
        except (Exception, SystemExit) as error:
            self._forget(plugin)
            failure = Failed(name, version, phase, error)
            self.failed.append(failure)
            if self._strict or name == BUILTIN_NAME or module in self._modules:
                raise PluginError(str(failure)) from error
        else:
            self.registry.add(entries)

    def _collect(self, name: str, plugin: object) -> list[Entry]:
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        entries: list[Entry] = []
        for kind in KINDS:
            collector = Collector(kind, name)
            self._manager.subset_hook_caller(f"rt_register_{kind}", others)(register=collector)
            entries += collector.entries
        for entry in entries:
            if any(other.plugin == BUILTIN_NAME for other in self.registry.offered(entry.kind, entry.name)):
                raise PluginError(
                    f"it offers the {entry.kind[:-1]} '{entry.name}', which is the name of a built-in one; "
                    "give it another name"
                )
        return entries

    def _forget(self, plugin: object) -> None:
        """Remove every trace of a failed plugin: a failed registration can leave its name taken."""
        if plugin is not None and self._manager.is_registered(plugin):
            self._manager.unregister(plugin)


class Reporters:
    """Dispatcher of events to the reporters of one run. A reporter that raises is left out, and a warning is logged.

    Raises:
        PluginError: a reporter has an unknown hook, or one with wrong arguments; if *strict*, also a deprecated one.
    """

    def __init__(self, objects: Iterable[object], strict: bool = False) -> None:
        self._manager = _manager(EventHooks)
        self.failed: list[str] = []
        for reporter in objects:
            try:
                _check_hooks(self._manager, reporter, _EVENTS, "rt_")
                _register(self._manager, reporter, f"reporter {type(reporter).__name__}", None, strict)
            except Exception as error:
                raise PluginError(f"reporter {type(reporter).__name__} cannot be used: {error}") from error

    def send(self, hook: str, event: object) -> None:
        """Send an event to every reporter; a reporter that raises does not stop the others, nor the run."""
        plugins = list(self._manager.get_plugins())
        for reporter in plugins:
            others = [other for other in plugins if other is not reporter]
            try:
                self._manager.subset_hook_caller(hook, others)(event=event)
            except Exception as error:
                self._manager.unregister(reporter)
                self.failed.append(_warn(reporter, "left out", error))


def close_reporters(objects: Iterable[object]) -> None:
    """Close the reporters that have a method ``close``. If one raises, this is logged and stops nothing."""
    for reporter in objects:
        try:
            getattr(reporter, "close", lambda: None)()
        except Exception as error:
            _warn(reporter, "did not end well", error)


def _warn(reporter: object, what: str, error: Exception) -> str:
    """Log what happened to a reporter, and return the line."""
    told = without_secrets(f"{type(error).__name__}: {error}")
    line = shown(" ".join(f"reporter {type(reporter).__name__} {what}: {told}".split()))
    _log.warning(line)
    return line


def _manager(specs: type) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(specs)
    return manager


def _check_hooks(
    manager: pluggy.PluginManager, plugin: object, known: Sequence[str], prefix: str, needed: str | None = None
) -> None:
    """Raise PluginError for a hook that is misspelt, unmarked or lacks a needed argument: pluggy would say nothing."""
    marked = [name for name in dir(plugin) if manager.parse_hookimpl_opts(plugin, name) is not None]
    meant = [name for name in dir(plugin) if name.startswith(prefix) and inspect.isroutine(getattr(plugin, name, None))]
    unknown = next((name for name in (*meant, *marked) if name not in known), None)
    if unknown:
        raise PluginError(f"unknown hook '{unknown}'.{suggestion(unknown, known)}")
    unmarked = next((name for name in meant if name not in marked), None)
    if unmarked:
        raise PluginError(f"hook '{unmarked}' is not marked with @hookimpl")
    if not marked:
        raise PluginError(f"no hook found; known: {', '.join(known)}")
    for name in marked:
        defaults = with_defaults(getattr(plugin, name))
        if defaults:
            raise PluginError(f"hook '{name}': argument '{defaults[0]}' has a default and would never be passed")
        taken = inspect.signature(getattr(plugin, name)).parameters
        if needed and needed not in taken:
            raise PluginError(f"hook '{name}' has to take '{needed}', and takes {', '.join(taken) or 'nothing'}")


def with_defaults(hook: Callable[..., Any]) -> list[str]:
    """Return the arguments of a hook that have a default: pluggy never passes these, so the default would be used."""
    parameters = inspect.signature(hook).parameters.values()
    return [one.name for one in parameters if one.default is not inspect.Parameter.empty]


def _check_api(plugin: object) -> None:
    """Check that a plugin can be used with this version of the plugin API.

    Raises:
        PluginError: it cannot; the message says which side to update.
    """
    wanted = getattr(plugin, API_NAME, API)
    if not (isinstance(wanted, tuple) and len(wanted) == 2 and all(isinstance(part, int) for part in wanted)):
        raise PluginError(f"{API_NAME} must be two whole numbers such as {API}, not {wanted!r}")
    if wanted > API:
        raise PluginError(f"written for plugin API {_dotted(wanted)}, this is {_dotted(API)}: update rt-framework")
    if wanted[0] < API[0]:
        raise PluginError(f"written for plugin API {_dotted(wanted)}, this is {_dotted(API)}: update the plugin")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _register(manager: pluggy.PluginManager, plugin: object, who: str, name: str | None, strict: bool) -> None:
    """Register a plugin, and log pluggy's warnings of deprecated hooks and arguments that it implements.

    Raises:
        PluginError: there is such a warning, and the host is strict.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manager.register(plugin, name=name)
    for warning in caught:
        if strict:
            raise PluginError(str(warning.message))
        _log.warning(shown(f"{who}: {warning.message}"))


def packaged(point: metadata.EntryPoint) -> tuple[str, str]:
    """Return name and version of an entry point's package; empty where its metadata cannot be read."""
    try:
        return (point.dist.name or "", point.dist.version or "") if point.dist else ("", "")
    except Exception:
        return "", ""


def _place(error: BaseException) -> str:
    """Return file and line of the plugin's own code at which it failed, for a message; empty if there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(("<frozen", *_NOT_PLUGINS))]
    return f" ({Path(own[0].filename).name}, line {own[0].lineno})" if own else ""


def _import(module: str) -> Any:
    """Return the plugin object that an entry point names: a module, or an attribute of one."""
    name, _, attribute = module.partition(":")
    plugin: Any = importlib.import_module(name)
    for part in attribute.split(".") if attribute else ():
        plugin = getattr(plugin, part)
    return plugin
