"""An event loop whose time passes only while nothing is at work, so that a run of minutes takes a moment."""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from rt_framework.ledger.database import Database

T = TypeVar("T")

_MOMENT = 0.02
"""Most seconds of real time that threads at work get before time passes: one may wait for the loop itself."""


class VirtualTime:
    """Time that passes only while the event loop and the threads that work for it have nothing to do.

    Args:
        monkeypatch: replaces ``time.monotonic`` until the end of the test, and watches the ledger's writes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.working = 0
        """Pieces of work that threads have in hand."""
        self._loop: asyncio.AbstractEventLoop | None = None
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        write = Database.write

        async def watched(database: Database, *given: Any) -> Any:
            self.working += 1
            try:
                return await write(database, *given)
            finally:
                self.working -= 1

        monkeypatch.setattr(Database, "write", watched)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of *work*."""
        with asyncio.Runner(loop_factory=self._made) as runner:
            return runner.run(work)

    def sleep(self, seconds: float) -> None:
        """Let a thread that works for the loop sleep."""
        assert self._loop is not None
        woken = threading.Event()
        self._loop.call_soon_threadsafe(self._rest, seconds, woken)
        woken.wait(10)  # in vain only where a test has failed and the loop is gone

    def _rest(self, seconds: float, woken: threading.Event) -> None:
        assert self._loop is not None
        self.working -= 1
        self._loop.call_later(seconds, self._wake, woken)

    def _wake(self, woken: threading.Event) -> None:
        self.working += 1
        woken.set()

    def _made(self) -> asyncio.AbstractEventLoop:
        self._loop = _Loop(self)
        return self._loop


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: VirtualTime) -> None:
        super().__init__(_Selector(clock))
        self._clock = clock

    def run_in_executor(self, executor: Any, function: Any, *given: Any) -> Any:
        """Run a function on a thread, and let no time pass until it is done."""
        self._clock.working += 1
        future = super().run_in_executor(executor, function, *given)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: object) -> None:
        self._clock.working -= 1


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    def __init__(self, clock: VirtualTime) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        """Wait for the threads at work; if there are none, let the wanted time pass."""
        found = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None or self._clock.working > 0:
            found = super().select(timeout if timeout is None else _MOMENT)
        if not found and timeout is not None:
            self._clock.now += timeout
        return found
