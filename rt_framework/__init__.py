"""rt_framework: better instruction-tuning data, decided by the model that will learn from it.

This module holds the names that plugin authors import, :func:`~rt_framework.api.run` and
:func:`~rt_framework.api.score`, and :func:`~rt_framework.results.open_run`, which reads a run; everything else is found
by name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rt_framework.api import arun, ascore, run, score
    from rt_framework.errors import OutOfMemory, RtError, TeacherError, Unscorable
    from rt_framework.hookspecs import API as PLUGIN_API
    from rt_framework.hookspecs import hookimpl
    from rt_framework.kit.turns import turns
    from rt_framework.model import (
        Charge,
        Choice,
        Decision,
        Dropped,
        Failure,
        Pair,
        Range,
        Record,
        Reply,
        Request,
        Rewrite,
        Sample,
        Sampling,
        Score,
        Scored,
        ToolCall,
        Turn,
        Unparsed,
        Usage,
        Verdict,
        Version,
    )
    from rt_framework.results import open_run
    from rt_framework.spans import EncodedSpan, Loss, Messages, Span, SpanLoss, aligned, by_token, only_scored

__all__ = [
    "PLUGIN_API",
    "Charge",
    "Choice",
    "Decision",
    "Dropped",
    "EncodedSpan",
    "Failure",
    "Loss",
    "Messages",
    "OutOfMemory",
    "Pair",
    "Range",
    "Record",
    "Reply",
    "Request",
    "Rewrite",
    "RtError",
    "Sample",
    "Sampling",
    "Score",
    "Scored",
    "Span",
    "SpanLoss",
    "TeacherError",
    "ToolCall",
    "Turn",
    "Unparsed",
    "Unscorable",
    "Usage",
    "Verdict",
    "Version",
    "aligned",
    "arun",
    "ascore",
    "by_token",
    "hookimpl",
    "only_scored",
    "open_run",
    "run",
    "score",
    "turns",
]

_HOMES = ("errors", "hookspecs", "kit.turns", "model", "spans", "results", "api")
"""Modules that these names come from, in the order in which they are looked at: the slowest to import come last."""


def __getattr__(name: str) -> Any:
    """Import a name when it is first used, so that a command or a plugin loads only what it needs."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "PLUGIN_API":
        from rt_framework.hookspecs import API

        return API
    modules = (importlib.import_module(f"rt_framework.{home}") for home in _HOMES)
    found = next(getattr(module, name) for module in modules if hasattr(module, name))
    if hasattr(found, "__attrs_attrs__"):
        from rt_framework.kit.field_texts import FieldTexts

        found.__slots__ = FieldTexts(found)  # so that help() shows what is written below each field
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return the public names, of which some may not be imported yet."""
    return sorted({*globals(), *__all__})
