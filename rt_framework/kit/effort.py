"""Effort that samples cost: texts that a student has to read, and time of a teacher, noted where they arise."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from attrs import define, field


@define
class Effort:
    """Effort that the samples at one stage have cost so far."""

    characters: int = 0
    """Characters of the texts whose losses were asked of a student."""
    calls: int = 0
    """Calls of a teacher that have ended."""
    seconds: float = 0.0
    """Seconds from sending to the end of these calls, together."""


@define
class Visit:
    """One visit of a sample at a stage."""

    effort: Effort = field(factory=Effort)
    """Effort of the stage, to which that of the visit is added."""
    fresh: bool = False
    """True if anything had to be asked or computed for the sample, here or at an earlier stage of this run."""


_VISIT: ContextVar[Visit | None] = ContextVar("visit", default=None)
"""The visit that the present task belongs to; tasks that it starts belong to it too."""


def begin(visit: Visit) -> None:
    """Let all that the present task and those that it starts ask for from now on count for a visit."""
    _VISIT.set(visit)


def now() -> Visit | None:
    """Return the visit that the present task belongs to, if any."""
    return _VISIT.get()


def asked(characters: int) -> None:
    """Note that losses of so many characters were asked of a student."""
    visit = _VISIT.get()
    if visit is not None and characters:
        visit.effort.characters += characters
        visit.fresh = True


@asynccontextmanager
async def calling() -> AsyncIterator[None]:
    """Note that a teacher is called in the block, and how long that took."""
    began = time.monotonic()
    try:
        yield
    finally:
        visit = _VISIT.get()
        if visit is not None:
            visit.effort.calls += 1
            visit.effort.seconds += time.monotonic() - began
            visit.fresh = True
