"""Gathering of single items from many coroutines into batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from attrs import frozen

Item = TypeVar("Item")
Result = TypeVar("Result")

_PAUSE = 0.01
"""Seconds without a new item after which no other is expected and the batch is run."""


@frozen(eq=False)
class _Waiting(Generic[Item, Result]):
    """An item that waits for its batch."""

    item: Item
    size: int
    future: asyncio.Future[Result]


class _Line(Generic[Item, Result]):
    """The items that wait, in the order in which they came."""

    def __init__(self, size: Callable[[Item], int]) -> None:
        self._size_of = size
        self._waiting: list[_Waiting[Item, Result]] = []
        self.size = 0
        """Sum of the sizes of all items."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Item) -> asyncio.Future[Result]:
        """Add an item, and return the future of its result."""
        waiting = _Waiting[Item, Result](item, self._size_of(item), asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self.size += waiting.size
        return waiting.future

    def take(self, most: int) -> list[_Waiting[Item, Result]]:
        """Remove and return the first items, of a size of *most* together; the first item always."""
        sizes = accumulate(waiting.size for waiting in self._waiting)
        count = max(1, sum(size <= most for size in sizes))
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        self.size -= sum(waiting.size for waiting in taken)
        return taken

    def cancel(self) -> None:
        """Cancel every coroutine that waits."""
        for waiting in self._waiting:
            waiting.future.cancel()


class Batcher(Generic[Item, Result]):
    """Runner of batches: a full one, or all waiting items when no more arrive.

    While a batch runs the next one gathers, so batches are full exactly when the worker is the
    bottleneck and small when it would otherwise stand idle.

    Args:
        run: runs a batch, and yields position and result of each item as soon as it is known.
        full: most items of a batch, by *size*.
        size: number of items that one item counts as, at least one.
        at_once: most batches that run at once. A further one is begun only if it is full, so that what its items need
            first can be made ready while the batch before is computed.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], AsyncIterator[tuple[int, Result]]],
        full: int,
        size: Callable[[Item], int] = lambda _: 1,
        at_once: int = 1,
    ) -> None:
        self._run = run
        self._full = full
        self._at_once = at_once
        self._line = _Line[Item, Result](size)
        self._gathering = False
        self._running = 0
        self._workers: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Result:
        """Return the result for one item.

        Raises:
            Exception: the error that the batch raised; every item without a result gets the same error.
        """
        future = self._line.add(item)
        self._begin()
        return await future

    @property
    def busy(self) -> bool:
        """True while items are gathered or a batch runs."""
        return self._gathering or self._running > 0

    async def close(self) -> None:
        """Stop the workers, and cancel every coroutine that still waits for a result."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        self._line.cancel()

    def _begin(self) -> None:
        """Begin to gather a batch, if there is something to gather and room for the batch."""
        if self._gathering or not self._line:
            return
        if not self._running or (self._running < self._at_once and self._line.size >= self._full):
            self._gathering = True
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        """Gather one batch and run it."""
        try:
            await self._settle()
        finally:
            self._gathering = False
        batch = self._line.take(self._full)
        self._running += 1
        self._begin()
        try:
            async for position, result in self._run([waiting.item for waiting in batch]):
                if not batch[position].future.done():
                    batch[position].future.set_result(result)
            if not all(waiting.future.done() for waiting in batch):
                raise RuntimeError("a batch was answered with fewer results than it has items")
        except asyncio.CancelledError:
            for waiting in batch:
                waiting.future.cancel()
            raise
        except Exception as error:
            for waiting in batch:
                if not waiting.future.done():
                    waiting.future.set_exception(error)
        finally:
            self._running -= 1
        self._begin()

    async def _settle(self) -> None:
        seen = 0
        while seen < len(self._line) and self._line.size < self._full:
            seen = len(self._line)
            await asyncio.sleep(_PAUSE)
