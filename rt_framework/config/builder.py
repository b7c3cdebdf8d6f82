"""Building of plugins from names and options, with the plugin named in every failure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rt_framework.config.members import check_members
from rt_framework.errors import ConfigError, PluginError, RtError, described
from rt_framework.hookspecs import singular
from rt_framework.kit.parts import Given, Spec
from rt_framework.kit.stdout import others_to_stderr
from rt_framework.plugin import Entry, Host, field_names, structure
from rt_framework.text import secret_place


class Builder:
    """Builder of plugins for one command: its :class:`rt_framework.protocols.Make`.

    Args:
        host: finds the plugins, and notes which were used.
        looking: true if the plugins are built only for inspection, and are not noted as used.
    """

    def __init__(self, host: Host, looking: bool = False) -> None:
        self.host = host
        """The host that finds the plugins."""
        self._looking = looking

    def __call__(self, kind: str, name: str, options: object = None) -> Any:
        """Build a plugin by name.

        Raises:
            PluginError: the plugin is unknown, ambiguous or broken, or lacks a member of its kind.
            ConfigError: the options do not fit its settings.
        """
        if isinstance(options, Given):
            check_members(kind, name, options.part)
            if not self._looking:
                self.host.use_given(kind, name, options.part)
            return options.part
        entry = self.host.find(kind, name)
        with others_to_stderr():
            given = settings(entry, options)
            built = self._built(entry, given)
        check_members(kind, name, built)
        if not self._looking:
            self.host.use(entry, given)
        return built

    def _built(self, entry: Entry, given: object) -> Any:
        kind, name = entry.kind, entry.name
        arguments: list[object] = [] if given is None else [given]
        if kind == "stages":
            arguments.append(self)
        target = entry.load()
        try:
            return target(*arguments)
        except RtError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{singular(kind)} '{name}' of plugin '{entry.plugin}' failed to start: {described(error)}"
            ) from error

    def names(self, kind: str) -> list[str]:
        """Return the names of all plugins of a kind."""
        return self.host.registry.names(kind)

    def spec(self, kind: str, spec: Spec) -> Any:
        """Build the plugin that a spec names, with its options."""
        return self(kind, spec.name, spec.options)

    def settings(self, kind: str, spec: Spec) -> object | None:
        """Return the options of a spec as the settings of the plugin that it names; ``None`` where that has none."""
        return None if isinstance(spec.options, Given) else settings(self.host.find(kind, spec.name), spec.options)


def settings(entry: Entry, options: object) -> object | None:
    """Return options as the entry's settings; they are a mapping of fields, or the value of the first field alone.

    Returns:
        the settings; ``None`` where the entry has no settings class.

    Raises:
        ConfigError: the options do not fit.
    """
    names = [] if entry.settings is None else field_names(entry.settings)
    place = f"{singular(entry.kind)} '{entry.name}'"
    secret = secret_place(options, place)
    if secret is not None:
        raise ConfigError(f"{secret}: API keys come only from the environment; take it out of the config")
    if options is None:
        options = {}
    elif not names and options != {}:
        raise ConfigError(f"{place} takes no options, but got {options!r}")
    elif not isinstance(options, Mapping) or (len(names) == 1 and not set(options) <= set(names)):
        options = {names[0]: options}
    return None if entry.settings is None else structure(options, entry.settings, place)
