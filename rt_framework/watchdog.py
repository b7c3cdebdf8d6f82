"""Says so when nothing happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from rt_framework.events import Stalled
from rt_framework.tally import Tally

_PATIENCE = 60.0
"""Seconds without an answer, a loss or a finished sample after which the user is told; doubled each time."""


@asynccontextmanager
async def watchdog(tally: Tally, why: Callable[[], str]) -> AsyncIterator[None]:
    """Within, reporters are told when the run stands still.

    Args:
        tally: knows when something happened last.
        why: what is being waited for, in words.
    """
    task = asyncio.create_task(_watch(tally, why))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(tally: Tally, why: Callable[[], str]) -> None:
    patience = _PATIENCE
    while True:
        await asyncio.sleep(_PATIENCE / 10)
        still = time.monotonic() - tally.moved
        if still < _PATIENCE:
            patience = _PATIENCE
        elif still >= patience:
            tally.reporters.send("rt_stalled", Stalled(still, why()))
            patience = 2 * still
