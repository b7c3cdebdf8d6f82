"""The lock of everything that loads or runs a local model, and properties that may wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
from typing import Any, TypeVar

T = TypeVar("T")

AT_WORK = threading.RLock()
"""Lock held while a local model is loaded or computes. Two models at work at once only compete for the same cores, and
transformers can neither be imported nor load a model from two threads, because it changes torch's defaults
meanwhile."""


class lazy_property(cached_property[T]):  # noqa: N801 - a decorator, as the one that it is made of
    """A ``functools.cached_property`` as it is from Python 3.12 on: without a lock.

    Until Python 3.11 one lock for all objects of a class is held while a value is worked out. A thread that has it and
    waits for :data:`AT_WORK`, and one that has that and reads the property, would wait for each other for ever. Two
    threads that come first may both work out the value; one of them is kept.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        super().__init__(function)
        self.lock = nullcontext()
