"""rt_framework: better instruction-tuning data, decided by the model that will learn from it.

This module holds the names that plugin authors import; everything else is found by name.
"""

from rt_framework.errors import OutOfMemory, RtError, TeacherError, Unscorable
from rt_framework.hookspecs import API as PLUGIN_API
from rt_framework.hookspecs import hookimpl
from rt_framework.model import (
    Choice,
    Decision,
    Dropped,
    Failure,
    Pair,
    Range,
    Record,
    Reply,
    Request,
    Sample,
    Sampling,
    Score,
    Scored,
    Turn,
    Unparsed,
    Usage,
    Verdict,
    Version,
)
from rt_framework.spans import EncodedSpan, Loss, Span, SpanLoss, aligned, by_token, turns

__all__ = [
    "PLUGIN_API",
    "Choice",
    "Decision",
    "Dropped",
    "EncodedSpan",
    "Failure",
    "Loss",
    "OutOfMemory",
    "Pair",
    "Range",
    "Record",
    "Reply",
    "Request",
    "RtError",
    "Sample",
    "Sampling",
    "Score",
    "Scored",
    "Span",
    "SpanLoss",
    "TeacherError",
    "Turn",
    "Unparsed",
    "Unscorable",
    "Usage",
    "Verdict",
    "Version",
    "aligned",
    "by_token",
    "hookimpl",
    "turns",
]
