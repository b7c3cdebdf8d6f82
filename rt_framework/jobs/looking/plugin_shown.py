"""The plugins and parts of one name, for ``rt plugins show``.

The classes are in a module of their own because ``rt plugins list`` does not use them and starts sooner without.
"""

from __future__ import annotations

from attrs import frozen

from rt_framework.jobs.looking.plugin_parts import ToldPart


@frozen
class ToldOrigin:
    """A plugin, and what it was written for."""

    name: str
    """Name of the plugin."""
    package: str | None
    """Name of the package; null for the built-in plugin, and for a module or file that ``-p`` names."""
    version: str | None
    """Version of the package."""
    api: str
    """Version of the plugin API that it was written for."""


@frozen
class ToldPlugin:
    """A plugin, or every part of one name."""

    plugins: tuple[ToldOrigin, ...]
    """The plugins that offer the parts."""
    parts: tuple[ToldPart, ...]
    """The parts."""
