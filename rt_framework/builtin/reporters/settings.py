"""Options of the built-in reporters."""

from __future__ import annotations

from attrs import frozen


@frozen
class JsonlSettings:
    """Options of the reporter ``jsonl``."""

    path: str | None = None
    """File to append to; standard output when left out."""
