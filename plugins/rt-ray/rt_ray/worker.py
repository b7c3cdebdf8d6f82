"""The worker on the cluster: a process with one student, which does one piece of work at a time."""

from __future__ import annotations

import pickle
import platform
from collections.abc import Callable
from typing import Any

from attrs import frozen

from rt_framework.errors import ModelError, PluginError, described
from rt_framework.protocols import Student

Work = Callable[[Student], Any]


@frozen
class Raised:
    """An exception of the work, to be raised where it was asked for: Ray would wrap it in one of its own."""

    error: bytes


class Worker:
    """Takes the student at the first work.

    Args:
        factory: gives the student, pickled.
        fingerprint: what it must be; another one would give losses that belong to another model.
    """

    def __init__(self, factory: bytes, fingerprint: str) -> None:
        self._factory = factory
        self._fingerprint = fingerprint
        self._student: Student | None = None

    def ready(self) -> None:
        """Nothing: that it answers says that it has its place."""

    def work(self, work: bytes) -> Any:
        """Do a piece of work; gives what it gives, or :class:`Raised`."""
        try:
            if self._student is None:
                self._student = self._made()
            return pickle.loads(work)(self._student)  # noqa: S301 - from the driver of this run
        except Exception as error:
            return Raised(_pickled(error))

    def _made(self) -> Student:
        student: Student = pickle.loads(self._factory)()  # noqa: S301 - from the driver of this run
        if student.fingerprint != self._fingerprint:
            raise ModelError(
                f"the student on {platform.node()} is not that of the driver, so its losses would be another model's: "
                f"{student.fingerprint} there, {self._fingerprint} here; make model files and releases the same"
            )
        return student


def _pickled(error: Exception) -> bytes:
    """An exception that can be raised elsewhere; one that cannot be sent is told in words."""
    try:
        sent = pickle.dumps(error)
        pickle.loads(sent)  # noqa: S301 - made a line above
    except Exception:
        return pickle.dumps(PluginError(described(error)))
    return sent
