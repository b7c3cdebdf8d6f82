"""Gathering of single items from many coroutines into batches for one worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_PAUSE = 0.01
"""Seconds without a new item after which no other is expected and the batch is run."""


class Batcher(Generic[Item, Result]):
    """Runner of one batch at a time: a full one, or all waiting items when no more arrive.

    While a batch runs the next one gathers, so batches are full exactly when the worker is the
    bottleneck and small when it would otherwise stand idle.

    Args:
        run: runs a batch, and yields position and result of each item as soon as it is known.
        full: most items of a batch, by *size*.
        size: number of items that one item counts as, at least one.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], AsyncIterator[tuple[int, Result]]],
        full: int,
        size: Callable[[Item], int] = lambda _: 1,
    ) -> None:
        self._run = run
        self._full = full
        self._size = size
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Return the result for one item.

        Raises:
            Exception: the error that the batch raised; every item without a result gets the same error.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if not self.busy:
            self._worker = asyncio.create_task(self._work())
        return await future

    @property
    def busy(self) -> bool:
        """True while items are gathered or a batch runs."""
        return self._worker is not None and not self._worker.done()

    async def close(self) -> None:
        """Stop the worker, and cancel every coroutine that still waits for a result."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for _, future in self._waiting:
            future.cancel()

    async def _work(self) -> None:
        while self._waiting:
            await self._settle()
            taken = self._taken()
            batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
            try:
                async for position, result in self._run([item for item, _ in batch]):
                    if not batch[position][1].done():
                        batch[position][1].set_result(result)
                if not all(future.done() for _, future in batch):
                    raise RuntimeError("a batch was answered with fewer results than it has items")
            except asyncio.CancelledError:
                for _, future in batch:
                    future.cancel()
                raise
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)

    async def _settle(self) -> None:
        seen = 0
        while seen < len(self._waiting) and sum(self._size(item) for item, _ in self._waiting) < self._full:
            seen = len(self._waiting)
            await asyncio.sleep(_PAUSE)

    def _taken(self) -> int:
        """Return how many of the waiting items fit one batch; the first always does."""
        sizes = accumulate(self._size(item) for item, _ in self._waiting)
        return max(1, sum(size <= self._full for size in sizes))
