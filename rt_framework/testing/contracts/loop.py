"""The event loop of the checks, to which a student's connections belong."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from rt_framework.protocols import AsyncStudent

T = TypeVar("T")

_RUNNER = asyncio.Runner()
atexit.register(_RUNNER.close)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of *work*, always in the same event loop."""
    return _RUNNER.run(work)


async def each(student: AsyncStudent, ask: Callable[[Any], Awaitable[T]], things: Sequence[Any]) -> list[T]:
    """Return what a student behind a server says of each thing, asked at once, and leave no connection open."""
    try:
        return await asyncio.gather(*map(ask, things))
    finally:
        await student.aclose()
