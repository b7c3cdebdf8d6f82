"""The members that a part of each kind has: a part without one is refused in one line, before any work."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rt_framework import protocols
from rt_framework.errors import PluginError
from rt_framework.hookspecs import singular

_PROTOCOLS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "teachers": (protocols.Teacher, protocols.LocalTeacher),
        "students": (protocols.Student, protocols.AsyncStudent),
        "metrics": (protocols.Metric, protocols.FittedMetric, protocols.TextMetric),
        "selectors": (protocols.Selector, protocols.DatasetSelector),
        "reflections": (protocols.Reflection,),
        "templates": (protocols.Template,),
        "formats": (protocols.Format,),
        "stages": (protocols.Stage, protocols.DatasetStage),
        "executors": (protocols.Executor,),
    }
)
"""Protocols of each kind, of which a part has to have one. Reporters have any of the event hooks."""


def check_members(kind: str, name: str, part: object) -> None:
    """Check that a part has all members of a protocol of its kind; their values are not read.

    Raises:
        PluginError: it lacks some; the message names those of the protocol that it comes nearest to.
    """
    nearest = min(_PROTOCOLS.get(kind, ()), key=lambda protocol: len(_lacking(part, protocol)), default=None)
    lacking = nearest and _lacking(part, nearest)
    if nearest and lacking:
        listed = ", ".join(f"'{member}'" for member in lacking)
        raise PluginError(f"{singular(kind)} '{name}' lacks {listed} of the protocol {nearest.__name__}")


def _lacking(part: object, protocol: type) -> list[str]:
    own = getattr(part, "__dict__", {})
    # A property is not read where its class is known to have it, because that may load a model.
    return [
        member
        for member in _members(protocol)
        if not (hasattr(type(part), member) or member in own or hasattr(part, member))
    ]


def _members(protocol: type) -> list[str]:
    """Return the public names that a protocol and its bases declare, in the order in which they are written."""
    names = (
        name for base in reversed(protocol.__mro__) for name in (*getattr(base, "__annotations__", ()), *vars(base))
    )
    return list(dict.fromkeys(name for name in names if not name.startswith("_")))
