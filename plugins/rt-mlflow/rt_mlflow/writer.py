"""A thread that does one thing after the other, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Writer(Generic[T]):
    """Opens something on a thread of its own and does to it what is put, until something raises.

    Args:
        opened: makes what is worked on.
    """

    def __init__(self, opened: Callable[[], T]) -> None:
        self._opened = opened
        # Unlike Queue it may be used in a signal handler, where a second Ctrl-C closes reporters.
        self._todo: SimpleQueue[Callable[[T], None] | None] = SimpleQueue()
        self._error: Exception | None = None
        self._thread = Thread(target=self._work, name="rt-mlflow", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[T], None]) -> None:
        """Have *job* done. Returns at once.

        Raises:
            Exception: what an earlier job raised, the first time that there is somebody to hear of it.
        """
        self._complain()
        self._todo.put(job)

    def close(self, seconds: float) -> None:
        """Wait until everything is done, so long at most.

        Raises:
            TimeoutError: it took longer; what is left is given up.
            Exception: what a job raised, if nobody has heard of it.
        """
        self._todo.put(None)
        self._thread.join(seconds)
        self._complain()
        if self._thread.is_alive():
            raise TimeoutError(f"not everything was written within {seconds:g} s")

    def _complain(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        try:
            target = self._opened()
            while (job := self._todo.get()) is not None:
                job(target)
        except Exception as error:
            self._error = error
