"""Pauses of questions that failed and will be asked again."""

from __future__ import annotations

import time

from rt_framework.concurrency import StopSignal
from rt_framework.errors import TeacherError
from rt_framework.text import number_of


class Pauses:
    """The pauses of the questions of one teacher.

    Args:
        stop: stop signal that ends them.
    """

    def __init__(self, stop: StopSignal) -> None:
        self.stop = stop
        self._resting: dict[str, tuple[float, str]] = {}
        """Time at which each question is asked again, and the meaning of its failure."""

    async def rest(self, key: str, error: TeacherError, seconds: float) -> None:
        """Wait before a question that failed is asked again.

        Raises:
            RtError: sending ended meanwhile.
        """
        self._resting[key] = time.monotonic() + seconds, error.kind.meaning
        try:
            await self.stop.sleep(seconds)
        finally:
            # Only a display reads this: it must never be what ends a question.
            self._resting.pop(key, None)

    def why(self) -> str:
        """Return how many questions are asked again after a pause, when the next one is, and why; empty if none is."""
        if not self._resting:
            return ""
        due, meaning = min(self._resting.values())
        again = f"{number_of(len(self._resting), 'question')} will be asked again"
        return f"{again}, the next one in {max(due - time.monotonic(), 0.0):.0f} s, because {meaning}"
