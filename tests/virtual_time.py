"""An event loop whose time passes only while it waits, so that a run of minutes takes a moment."""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

_MOMENT = 0.001
"""Seconds that threads, such as the one that writes the ledger, get before time passes."""


class VirtualTime:
    """Time that passes only while the event loop has nothing to do.

    Args:
        monkeypatch: takes the place of ``time.monotonic`` until the end of the test.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self._loop: asyncio.AbstractEventLoop | None = None
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of *work*."""
        with asyncio.Runner(loop_factory=self._made) as runner:
            return runner.run(work)

    def sleep(self, seconds: float) -> None:
        """Let a thread other than the loop's sleep."""
        assert self._loop is not None
        woken = threading.Event()
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, woken.set)
        woken.wait()

    def _made(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.SelectorEventLoop(_Selector(self))
        return self._loop


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    def __init__(self, clock: VirtualTime) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        """Wait for a moment of real time at most; if nothing comes, let the wanted time pass."""
        if timeout is None:
            return super().select(None)
        found = super().select(min(timeout, _MOMENT))
        if not found and timeout > 0:
            self._clock.now += timeout
        return found
