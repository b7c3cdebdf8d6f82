"""Detection of calls that block the event loop, by the audit events of Python."""

from __future__ import annotations

import asyncio
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent.parent
_watching: list[list[str]] = []
"""Lists that receive the places of blocking calls; an audit hook cannot be removed, so it looks here."""
_installed: list[bool] = []


@contextmanager
def blocking_calls() -> Iterator[list[str]]:
    """Yield a list that receives the place of each call that blocks a running event loop inside the block.

    Noticed are ``time.sleep`` and connections of sockets that block, in the thread of the loop.
    """
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_hook)
    places: list[str] = []
    _watching.append(places)
    try:
        yield places
    finally:
        _watching.remove(places)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event not in ("time.sleep", "socket.connect"):
        return
    if event == "socket.connect" and isinstance(arguments[0], socket.socket) and arguments[0].gettimeout() == 0:
        return  # an asynchronous client
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    frames = [frame for frame in traceback.extract_stack() if not Path(frame.filename).is_relative_to(_HERE)]
    place = f"{event} at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else event
    for places in _watching:
        places.append(place)
