"""Standard output for the command alone: what other code prints meanwhile goes to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, TextIO

_own: TextIO | None = None


def own() -> TextIO:
    """Return the standard output of the command, also inside :func:`others_to_stderr`. Reporters write to it."""
    return sys.stdout if _own is None else _own


@contextmanager
def others_to_stderr() -> Iterator[None]:
    """Send the prints of plugins and libraries to standard error: Python code, C code and the processes they start.

    A reader of ``rt run --reporter jsonl`` then gets events and nothing else. May be nested.
    """
    global _own
    if _own is not None:
        yield
        return
    with _kept() as _own, redirect_stdout(sys.stderr):
        try:
            yield
        finally:
            _own = None


@contextmanager
def all_to_stderr(wanted: bool = True) -> Iterator[None]:
    """Send the prints of reporters to standard error too, so that a program reads the result alone; print it after.

    Args:
        wanted: whether to do so; if not, the block is run as it is.
    """
    global _own
    if not wanted:
        yield
        return
    with others_to_stderr():
        kept, _own = _own, sys.stderr
        try:
            yield
        finally:
            _own = kept


@contextmanager
def _kept() -> Iterator[Any]:
    """Yield standard output under a new descriptor, while descriptor 1 leads to standard error."""
    if (_descriptor(sys.stdout), _descriptor(sys.stderr)) != (1, 2):
        yield sys.stdout  # replaced by a test or an embedding program
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    encoding, errors = sys.stdout.encoding, sys.stdout.errors
    stream = open(kept, "w", buffering=1, encoding=encoding, errors=errors)  # noqa: PTH123, SIM115 - a descriptor
    try:
        yield stream
    finally:
        import ctypes

        ctypes.CDLL(None).fflush(None)  # C code may have buffered output that belongs to standard error
        os.dup2(kept, 1)
        with suppress(BrokenPipeError):
            stream.close()


@contextmanager
def until_closed() -> Iterator[None]:
    """End the block early, without an error, when the reader of standard output has read enough, as ``head`` does."""
    file = own()
    try:
        yield
        file.flush()
    except BrokenPipeError:
        give_up(file)


def give_up(file: TextIO) -> None:
    """Let a file whose reader is gone lead nowhere, so that what is still flushed at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def _descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None
