"""Snapshots of a run's progress, written once a second for other processes that watch the run.

The file is a convenience: it is replaced as a whole, never synced, and a run that cannot write it goes on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import cattrs
from attrs import asdict, frozen

from rt_framework.data import Destination, whole
from rt_framework.errors import RtError
from rt_framework.events import Progress
from rt_framework.rundir.directory import PROGRESS
from rt_framework.rundir.progress import Meter

_EVERY = 1.0
"""Seconds between two snapshots."""


@frozen
class Snapshot:
    """Progress of a run at one moment."""

    written: float
    """Seconds since 1970."""
    progress: Progress


@asynccontextmanager
async def heartbeat(meter: Meter, run_dir: Path) -> AsyncIterator[None]:
    """Inside the block, write a snapshot every second, even if nothing happens."""
    stop = asyncio.Event()
    task = asyncio.create_task(_beat(meter, run_dir, stop))
    try:
        yield
    finally:
        stop.set()  # not cancelled: the thread would go on and write the file after the run
        await asyncio.gather(task, return_exceptions=True)


async def _beat(meter: Meter, run_dir: Path, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await asyncio.to_thread(write, run_dir, Snapshot(time.time(), meter.progress()))
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _EVERY)


def write(run_dir: Path, snapshot: Snapshot) -> None:
    """Replace the snapshot of a run directory; errors of the disk are ignored."""
    with suppress(OSError, RtError), whole(Destination(run_dir / PROGRESS, record=run_dir), lasting=False) as part:
        part.write_text(json.dumps(asdict(snapshot)) + "\n", "ascii")


def read(run_dir: Path) -> Snapshot | None:
    """Return the snapshot of a run directory; ``None`` if there is none that this release understands."""
    try:
        return cattrs.structure(json.loads((run_dir / PROGRESS).read_text("utf-8")), Snapshot)
    except Exception:  # any content may be in the file; reading it must never fail
        return None
