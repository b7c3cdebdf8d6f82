"""A plugin package that is to be written: its name, and its parts."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from rt_framework.jobs.scaffold import COMMAND


@frozen
class Part:
    """A part of a package."""

    kind: str
    """One of :data:`rt_framework.jobs.scaffold.KINDS`."""
    name: str
    """Name of the part, as users of the package write it."""


@frozen
class Package:
    """A package. One part is one module; several parts are a folder with a module for each."""

    name: str
    parts: Sequence[Part]

    @property
    def module(self) -> str:
        """Name of the module or folder with the code."""
        return self.name.replace("-", "_")

    @property
    def plugin(self) -> str:
        """Name of the plugin that offers the parts."""
        return self.name.removeprefix("rt-")

    @property
    def offered(self) -> list[Part]:
        """The parts that the plugin offers: all but commands."""
        return [part for part in self.parts if part.kind != COMMAND]

    @property
    def commands(self) -> list[Part]:
        """The parts that are commands."""
        return [part for part in self.parts if part.kind == COMMAND]

    @property
    def in_one_module(self) -> bool:
        """True if the package has one part."""
        return len(self.parts) == 1

    def home(self, part: Part) -> str:
        """Return the module with the code of a part."""
        return self.module if self.in_one_module else f"{self.module}.{part.name.replace('-', '_')}"

    def __str__(self) -> str:
        *first, last = [f"the {part.kind} '{part.name}'" for part in self.parts]
        return f"{', '.join(first)} and {last}" if first else last
