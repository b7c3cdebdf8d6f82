"""Python's search for garbage that refers to itself, which looks at every object that lives."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_ALLOCATIONS = 20_000
"""Objects that are made and not freed between two searches. By default Python searches after 700."""


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Let Python search less often in the block, where thousands of samples under way live for long.

    A job spent a seventh of its time on the searches; nearly all of its objects are freed without them.
    """
    before = gc.get_threshold()
    if 0 < before[0] < _ALLOCATIONS:  # 0 turns the searches off, and another program may want few of them
        gc.set_threshold(_ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
