"""Handling of Ctrl-C, and of the SIGTERM that a batch system sends before it kills: drain at first, then exit."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from rt_framework.errors import Interrupted

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def interruptible(
    work: Coroutine[Any, Any, T], stop: Callable[[Interrupted], None], leave: Callable[[], None]
) -> T:
    """Await *work*; at a first signal cancel it, and let it clean up.

    Args:
        work: the work to do; when cancelled, it waits for calls that are paid for.
        stop: called at the first signal, before *work* is cancelled.
        leave: called at a second signal, from the signal handler, just before the process ends with code 130; the
            process is ended at once because threads may be at work that cannot be stopped.

    Raises:
        Interrupted: a signal arrived.
    """
    task = asyncio.ensure_future(work)
    error = Interrupted("interrupted; everything committed so far is kept, and the same command resumes")

    def first() -> None:
        stop(error)
        task.cancel()

    def second() -> None:
        try:
            leave()
        finally:
            os._exit(Interrupted.exit_code)

    with _handled(first, second) as pressed:
        try:
            return await task
        except asyncio.CancelledError:
            if pressed():
                raise error from None
            raise


@contextmanager
def _handled(first: Callable[[], None], second: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Call *first* in the event loop at the first signal in the block, and *second* at once at later ones.

    The block gets a function that returns whether a signal has arrived.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return
    loop = asyncio.get_running_loop()
    count = 0

    def handle(_signal: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        # The loop may be busy for long: only the second signal must not wait for it.
        loop.call_soon_threadsafe(first) if count == 1 else second()

    before = {one: signal.signal(one, handle) for one in _SIGNALS}
    try:
        yield lambda: count > 0
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def ctrl_c() -> Iterator[list[int]]:
    """Collect each Ctrl-C of the block, since a KeyboardInterrupt could be raised where it is swallowed and lost."""
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
