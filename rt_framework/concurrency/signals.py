"""Handling of Ctrl-C, and of the SIGTERM that a batch system sends before it kills: drain at first, then exit."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any, Generic, TypeVar

from rt_framework.errors import Interrupted

T = TypeVar("T")

_CALLER: ContextVar[OwnThread[Any] | None] = ContextVar("caller", default=None)

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
    loop, caller = asyncio.get_running_loop(), _CALLER.get()
    if caller is not None:
        with caller.handled(lambda: loop.call_soon_threadsafe(first)):
            yield lambda: caller.pressed
        return
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return
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


class OwnThread(Generic[T]):
    """A coroutine at work in an event loop and a thread of its own, since no loop can run inside another.

    Args:
        work: returns the coroutine.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.pressed = False
        self._stop: Callable[[], object] | None = None
        self._lock = threading.Lock()
        self._done: Future[T] = Future()
        threading.Thread(target=self._go, args=(work,), name="rt-framework").start()

    def result(self) -> T:
        """Wait for the result; Ctrl-C lets the work end in order, and a second one no longer waits for that."""
        try:
            return self._done.result()
        except KeyboardInterrupt:
            self.press()
            return self._done.result()

    async def wait(self) -> T:
        """Wait for the result in an event loop; when cancelled, let the work end in order first."""
        done = asyncio.wrap_future(self._done)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            self.press()
            with suppress(Interrupted):
                await done  # the same future, since an error that nobody takes from one is printed later
            raise

    def press(self) -> None:
        """Let the work end in order, as Ctrl-C does on a command line."""
        with self._lock:
            self.pressed = True
            if self._stop is not None:
                self._stop()

    @contextmanager
    def handled(self, stop: Callable[[], object]) -> Iterator[None]:
        """Call *stop* when this is pressed in the block, or was before."""
        with self._lock:
            self._stop = stop
            if self.pressed:
                stop()
        try:
            yield
        finally:
            with self._lock:
                self._stop = None

    def _go(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        _CALLER.set(self)
        try:
            self._done.set_result(asyncio.run(work()))
        except BaseException as error:
            self._done.set_exception(error)


def completed(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return the result of a coroutine, also where an event loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    return OwnThread(work).result()


@contextmanager
def ctrl_c() -> Iterator[list[int]]:
    """Collect each Ctrl-C of the block, since a KeyboardInterrupt could be raised where it is swallowed and lost."""
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
