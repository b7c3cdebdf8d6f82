"""A watchdog that tells reporters when a run makes no progress."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rt_framework.events import Stalled
from rt_framework.plugin import Tally

_PATIENCE = 60.0
"""Seconds without an answer, a loss or a finished sample after which the user is told; doubled after each message."""


@asynccontextmanager
async def watchdog(tally: Tally) -> AsyncIterator[None]:
    """Inside the block, tell reporters when the run stands still; *tally* knows the time of the last progress."""
    task = asyncio.create_task(_watch(tally))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(tally: Tally) -> None:
    patience = _PATIENCE
    while True:
        await asyncio.sleep(_PATIENCE / 10)
        still = time.monotonic() - tally.moved
        if still < _PATIENCE:
            patience = _PATIENCE
        elif still >= patience:
            tally.reporters.send("rt_stalled", Stalled(still, tally.why()))
            patience = 2 * still
