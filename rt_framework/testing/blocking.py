"""Detection of calls that block the event loop."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any


@contextmanager
def blocking_calls() -> Iterator[list[str]]:
    """Yield a list that receives the place of each call that blocks an event loop of this thread inside the block.

    Noticed are ``time.sleep`` and connections of sockets that block, however they were imported.
    """
    places: list[str] = []

    def profile(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and _blocks(function) and asyncio._get_running_loop() is not None:
            places.append(f"{function.__name__} at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield places
    finally:
        sys.setprofile(before)


def _blocks(function: Any) -> bool:
    if function is time.sleep:
        return True
    owner = getattr(function, "__self__", None)
    # An asynchronous client sets the timeout of its sockets to 0.
    return function.__name__ == "connect" and isinstance(owner, socket.socket) and owner.gettimeout() != 0
