"""Why nothing more is sent, once that is so. Whoever waits to send is woken and told."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from rt_framework.errors import RtError

T = TypeVar("T")


class StopSignal:
    """Closed until something ends the sending for good: a fatal refusal, the budget, the user."""

    def __init__(self) -> None:
        self.error: RtError | None = None
        self._tripped = asyncio.Event()

    def trip(self, error: RtError) -> None:
        """Stop all sending; the first reason stands."""
        self.error = self.error or error
        self._tripped.set()

    def check(self) -> None:
        """Whether sending may go on.

        Raises:
            RtError: it may not; this is why.
        """
        if self.error is not None:
            raise self.error

    async def sleep(self, seconds: float) -> None:
        """Wait before sending.

        Raises:
            RtError: sending ended meanwhile, and so did the wait.
        """
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._tripped.wait(), seconds)
        self.check()

    async def unless_tripped(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of *work*, which is cut off when sending ends. For what costs nothing and may be done again.

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
