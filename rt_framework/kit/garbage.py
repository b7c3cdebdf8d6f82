"""Python's search for garbage that refers to itself, which looks at every object that lives."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS = 20_000
"""Objects that are made and not freed between two searches. By default Python searches after 700."""


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Let Python search less often in the block, and not among what was there before it.

    Thousands of samples under way live for long, and nearly all objects of a job are freed without a search. A job
    spent a seventh of its time on the searches.
    """
    before = gc.get_threshold()
    if 0 < before[0] < _ALLOCATIONS:  # 0 turns the searches off, and another program may want few of them
        gc.set_threshold(_ALLOCATIONS, *before[1:])
    set_aside = gc.get_freeze_count() == 0  # else the program around the job has set objects aside, and needs them so
    if set_aside:
        gc.freeze()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if set_aside:
            gc.unfreeze()
