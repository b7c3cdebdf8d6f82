"""The reporters of a run, each of which may fail without stopping the run."""

from __future__ import annotations

from collections.abc import Iterable

from rt_framework.errors import PluginError, described
from rt_framework.hookspecs import EventHooks
from rt_framework.plugin.pluggy_hooks import check_hooks, manager_of, register, warn
from rt_framework.text import shown, without_secrets

_EVENTS = tuple(name for name in vars(EventHooks) if name.startswith("rt_"))


class Reporters:
    """Dispatcher of events to the reporters of one run. A reporter that raises is left out, and a warning is logged.

    Raises:
        PluginError: a reporter has an unknown hook, or one with wrong arguments; if *strict*, also a deprecated one.
    """

    def __init__(self, objects: Iterable[object], strict: bool = False) -> None:
        self._manager = manager_of(EventHooks)
        self.failed: list[str] = []
        for reporter in objects:
            try:
                check_hooks(self._manager, reporter, _EVENTS, "rt_")
                register(self._manager, reporter, f"reporter {type(reporter).__name__}", None, strict)
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
                self.failed.append(_warn(reporter, "failed and is left out", error))


def close_reporters(objects: Iterable[object]) -> None:
    """Close the reporters that have a method ``close``. If one raises, this is logged and stops nothing."""
    for reporter in objects:
        try:
            getattr(reporter, "close", lambda: None)()
        except Exception as error:
            _warn(reporter, "failed when it was closed", error)


def _warn(reporter: object, what: str, error: Exception) -> str:
    """Log what happened to a reporter, and return the line."""
    message = without_secrets(described(error))
    line = shown(" ".join(f"reporter {type(reporter).__name__} {what}: {message}".split()))
    warn(line)
    return line
