"""Why nothing more is sent, once that is so. Whoever waits to send is woken and told."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from rt_framework.errors import RtError


class Breaker:
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
