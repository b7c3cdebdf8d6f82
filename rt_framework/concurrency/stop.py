"""The signal that ends all sending, with its reason. Coroutines that wait to send are woken and get the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from rt_framework.errors import RtError

T = TypeVar("T")


class StopSignal:
    """Signal that something has ended the sending for good: a fatal refusal, the budget or the user."""

    def __init__(self) -> None:
        self.error: RtError | None = None
        self._tripped = asyncio.Event()

    def trip(self, error: RtError) -> None:
        """Stop all sending; only the first reason is kept."""
        self.error = self.error or error
        self._tripped.set()

    def check(self) -> None:
        """Check that sending may continue.

        Raises:
            RtError: sending has ended; this error is the reason.
        """
        if self.error is not None:
            raise self.error

    async def sleep(self, seconds: float) -> None:
        """Wait before sending.

        Raises:
            RtError: sending ended meanwhile, which also ends the wait.
        """
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._tripped.wait(), seconds)
        self.check()

    async def unless_tripped(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of *work*, which is cut off when sending ends. Only for free work that may be repeated.

        Raises:
            RtError: sending ended meanwhile.
        """
        task, end = asyncio.ensure_future(work), asyncio.ensure_future(self._tripped.wait())
        try:
            await asyncio.wait((task, end), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.check()
            return await task
        finally:
            task.cancel()
            end.cancel()
            await asyncio.gather(task, end, return_exceptions=True)
