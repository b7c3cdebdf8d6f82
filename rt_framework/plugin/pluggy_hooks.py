"""Checked registration with pluggy, which itself says nothing of a misspelt or unmarked hook."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pluggy

from rt_framework.errors import PluginError
from rt_framework.hookspecs import API, GROUP
from rt_framework.text import shown, suggestion

API_NAME = "RT_PLUGIN_API"
"""Attribute in which a plugin says which version of :data:`rt_framework.hookspecs.API` it was written for."""


def manager_of(specs: type) -> pluggy.PluginManager:
    """Return a manager of plugins with these hooks."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(specs)
    return manager


def check_hooks(
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
            raise PluginError(
                f"hook '{name}' must take the argument '{needed}', but takes {', '.join(taken) or 'nothing'}"
            )


def with_defaults(hook: Callable[..., Any]) -> list[str]:
    """Return the arguments of a hook that have a default: pluggy never passes these, so the default would be used."""
    parameters = inspect.signature(hook).parameters.values()
    return [parameter.name for parameter in parameters if parameter.default is not inspect.Parameter.empty]


def check_api(plugin: object) -> None:
    """Check that a plugin can be used with this version of the plugin API.

    Raises:
        PluginError: it cannot; the message says which side to update.
    """
    wanted = getattr(plugin, API_NAME, API)
    if not (isinstance(wanted, tuple) and len(wanted) == 2 and all(isinstance(part, int) for part in wanted)):
        raise PluginError(f"{API_NAME} must be two whole numbers such as {API}, not {wanted!r}")
    if wanted > API:
        raise PluginError(f"written for plugin API {dotted(wanted)}, this is {dotted(API)}: update rt-framework")
    if wanted[0] < API[0]:
        raise PluginError(f"written for plugin API {dotted(wanted)}, this is {dotted(API)}: update the plugin")


def dotted(version: tuple[int, int]) -> str:
    """Return a version of the plugin API as text, such as ``2.0``."""
    return ".".join(map(str, version))


def register(manager: pluggy.PluginManager, plugin: object, who: str, name: str | None, strict: bool) -> None:
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
        warn(shown(f"{who}: {warning.message}"))


def warn(line: str) -> None:
    """Log a warning. Python's logging is imported here, since most commands log nothing."""
    import logging

    logging.getLogger("rt_framework").warning(line)
