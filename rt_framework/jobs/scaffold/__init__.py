"""Complete plugin packages to start from, for ``rt plugins new``."""

from __future__ import annotations

COMMAND = "command"
"""Kind of a part that is a command of ``rt``; all other kinds are kinds of plugin."""

KINDS = (
    "metric",
    "selector",
    "reflection",
    "template",
    "format",
    "stage",
    "teacher",
    "student",
    "executor",
    "reporter",
    COMMAND,
)
"""Kinds of part that have a template here."""
