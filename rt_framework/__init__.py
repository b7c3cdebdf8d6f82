"""rt_framework: better instruction-tuning data, decided by the model that will learn from it.

This module holds the names that plugin authors import, :func:`~rt_framework.api.run` and
:func:`~rt_framework.api.score`, and :func:`~rt_framework.results.open_run`, which reads a run; everything else is found
by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rt_framework.errors import OutOfMemory, RtError, TeacherError, Unscorable
from rt_framework.hookspecs import API as PLUGIN_API
from rt_framework.hookspecs import hookimpl
from rt_framework.kit.field_texts import FieldTexts
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
from rt_framework.spans import EncodedSpan, Loss, Messages, Span, SpanLoss, aligned, by_token, only_scored

if TYPE_CHECKING:
    from rt_framework.api import arun, ascore, run, score
    from rt_framework.results import open_run

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

for _name in __all__:
    _cls: Any = globals().get(_name)
    if hasattr(_cls, "__attrs_attrs__"):
        _cls.__slots__ = FieldTexts(_cls)  # so that help() shows what is written below each field


def __getattr__(name: str) -> Any:
    """Import a function for users when it is first used, so that a plugin's import of this module stays instant."""
    if name == "open_run":
        from rt_framework.results import open_run

        return open_run
    if name in ("arun", "ascore", "run", "score"):
        from rt_framework import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
