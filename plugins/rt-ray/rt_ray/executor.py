"""Fans the student's work out over a Ray cluster. Calls to the teacher stay in the driver; only pure work goes out."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from rt_framework.errors import PluginError, RtError
from rt_framework.protocols import Student
from rt_ray.cluster import Cluster
from rt_ray.settings import RaySettings
from rt_ray.worker import Raised

T = TypeVar("T")

_TRIES = 4
"""Workers that may end over one piece of work: after that the work is what ends them."""


class RayExecutor:
    """One student in each worker. A worker that ends is replaced, and its work is done again: it is pure."""

    def __init__(self, settings: RaySettings) -> None:
        self._settings = settings
        self._student: Callable[[], Student] | None = None
        self._cluster: Cluster | None = None
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        self._connecting = asyncio.Lock()
        # Ray's processes end with the thread that has started them, so that one has to last.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ray")
        self._workers: set[Any] = set()
        self._placed: set[Any] = set()
        self._hiring: set[asyncio.Task[None]] = set()
        self.deaths = 0
        """Workers that have ended before their time."""

    @property
    def workers(self) -> int:
        """Pieces of work that run at the same time; known once the cluster is."""
        return self._cluster.workers if self._cluster else self._settings.workers or 1

    def start(self, student: Callable[[], Student]) -> None:
        """Take the factory. The cluster is joined at the first work: a resumed run may need none.

        Raises:
            PluginError: the student cannot be sent to another process.
        """
        try:
            pickle.dumps(student)
        except Exception as error:
            raise PluginError(f"this student cannot be sent to a cluster ({error}); use executor: local") from error
        self._student = student

    async def run(self, work: Callable[[Student], T]) -> T:
        """Run *work* on the next free worker.

        Raises:
            ConfigError: the cluster cannot be used.
            RtError: no worker gets a place, or workers end over this work again and again.
        """
        sent = pickle.dumps(work)
        async with self._connecting:
            if self._cluster is None:
                await self._connect()
        for _ in range(_TRIES):
            found = await self._tried(sent)
            if not isinstance(found, _Died):
                result: T = found
                return result
        raise RtError(
            f"executor ray: {_TRIES} workers ended over the same batch, most often because memory ran out; all losses "
            "so far are kept: run again with a smaller scoring.batch_tokens, or more memory for each worker. "
            f"The last one: {found}"
        )

    def close(self) -> None:
        """End the workers, and the cluster if it was started for this run."""
        if self._cluster is not None:
            for task in self._hiring:
                task.cancel()
            for worker in self._workers:
                self._cluster.end(worker)
            self._workers.clear()
            self._placed.clear()
            self._cluster.close()
            self._cluster = None
        self._thread.shutdown()

    async def _connect(self) -> None:
        # Joining takes seconds, and calls are under way meanwhile.
        loop = asyncio.get_running_loop()
        self._cluster = await loop.run_in_executor(self._thread, Cluster, self._settings)
        for _ in range(self._cluster.workers):
            self._hire()

    def _hire(self) -> None:
        assert self._cluster is not None and self._student is not None, "start() comes first"
        worker = self._cluster.worker(pickle.dumps(self._student), self._student().fingerprint)
        self._workers.add(worker)
        task = asyncio.ensure_future(self._admit(worker))
        self._hiring.add(task)
        task.add_done_callback(self._hiring.discard)

    async def _admit(self, worker: Any) -> None:
        """Give work to a worker once it has its place; others go on meanwhile."""
        assert self._cluster is not None
        died = self._cluster.died  # the cluster may be closed before the worker ends
        try:
            await worker.ready.remote()
        except died as error:
            self._workers.discard(worker)
            # It never worked: another one would end the same way.
            self._free.put_nowait(_Died.of(error))
            return
        self._placed.add(worker)
        self._free.put_nowait(worker)

    async def _next(self) -> Any:
        """The next free worker."""
        while True:
            try:
                worker = await asyncio.wait_for(self._free.get(), self._settings.wait)
            except TimeoutError:
                if self._placed:
                    continue  # they are at work
                raise RtError(
                    f"executor ray: no worker got a place within {self._settings.wait:g} s; the cluster is busy: wait "
                    "for it, ask for fewer workers, or give it longer with the option `wait`"
                ) from None
            if not isinstance(worker, _Died):
                return worker
            if not self._placed:
                raise RtError(f"executor ray: a worker cannot be started: {worker}")

    async def _tried(self, work: bytes) -> Any:
        """The result of one try, or :class:`_Died`."""
        assert self._cluster is not None
        died = self._cluster.died  # the cluster may be closed before the worker ends
        worker = await self._next()
        try:
            found = await worker.work.remote(work)
        except died as error:
            self.deaths += 1
            self._workers.discard(worker)
            self._placed.discard(worker)
            self._hire()
            return _Died.of(error)
        except BaseException:
            self._free.put_nowait(worker)
            raise
        self._free.put_nowait(worker)
        if isinstance(found, Raised):
            raise pickle.loads(found.error)  # noqa: S301 - from a worker of this run
        return found


class _Died(str):
    """Return Ray's reason for the end of a worker."""

    @classmethod
    def of(cls, error: Exception) -> _Died:
        """In one line, and not all of it."""
        return cls(" ".join(str(error).split())[:300])
