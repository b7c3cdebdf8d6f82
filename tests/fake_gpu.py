"""A GPU without a GPU: tensors with shapes and no content, on the device `meta`, and a record of what moves or waits.

A build of torch without CUDA can make no tensor on a GPU, not even a fake one that an index takes. On `meta` every
operation runs by its shapes alone.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from attrs import define, field
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rt_framework.builtin.students import transfer

GPU = torch.device("meta")

WAITING = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2"}
"""Operations whose result, or the shape of it, the CPU has to know."""

FROM_CPU = {torch.tensor, torch.as_tensor, torch.asarray}
"""Functions that copy from ordinary memory, whatever the device."""


class Waits(Exception):
    """The CPU would wait here for everything that is queued on the GPU."""


@define
class Record:
    """Counts of what happened on the GPU."""

    to_gpu: int = 0
    """Copies from the CPU."""
    to_cpu: int = 0
    """Copies to the CPU."""
    events: list[str] = field(factory=list)
    """Copies, and waits for an event, in their order."""
    operations: int = 0
    held: int = 0
    """Bytes of the tensors that exist."""
    peak: int = 0
    """Most of them at once."""
    limit: int = 2**62
    """Bytes that there are."""


class _Operations(TorchDispatchMode):
    """Record of every operation on the GPU; one that waits is refused."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self._record = record
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        there = [one for one in given if one.device == GPU]
        here = [one for one in given if one.device != GPU and one.ndim]
        if there and name in WAITING:
            raise Waits(name)
        if name == "copy_" and there and here:
            return self._copied(args[0], args[1], kwargs or {}, args)
        out = func(*args, **kwargs or {})
        made = [one for one in tree_leaves(out) if isinstance(one, torch.Tensor)]
        if name in ("_to_copy", "to") and here and made[0].device == GPU:
            if not (kwargs or {}).get("non_blocking") and True not in args[1:]:
                raise Waits("a copy from ordinary memory")
            self._note("to_gpu")
        elif there and here:
            raise Waits(f"{name} of tensors on both devices")
        if there or any(one.device == GPU for one in made):
            self._record.operations += 1
        for one in made:
            self._hold(one)
        return out

    def _copied(self, target: torch.Tensor, _source: torch.Tensor, options: Any, args: Any) -> torch.Tensor:
        waits = not (options.get("non_blocking") or args[2:3] == (True,))
        if waits:
            raise Waits("a copy from the GPU")
        self._note("to_gpu" if target.device == GPU else "to_cpu")
        return target if target.device == GPU else target.zero_()

    def _note(self, what: str) -> None:
        setattr(self._record, what, getattr(self._record, what) + 1)
        self._record.events.append(what)

    def _hold(self, tensor: torch.Tensor) -> None:
        if tensor.device != GPU:
            return
        storage = tensor.untyped_storage()
        number, size = storage._cdata, storage.nbytes()
        if number in self._seen:
            return
        self._seen.add(number)
        self._record.held += size
        weakref.finalize(storage, self._free, number, size)
        self._record.peak = max(self._record.peak, self._record.held)
        if self._record.held > self._record.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def _free(self, number: int, size: int) -> None:
        self._seen.discard(number)
        self._record.held -= size


class _Constants(TorchFunctionMode):
    """Refusal of tensors that are made from Python's numbers on the GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in FROM_CPU and torch.device((kwargs or {}).get("device") or "cpu") == GPU:
            raise Waits(func.__name__)
        return func(*args, **kwargs or {})


class _Event:
    def __init__(self, record: Record) -> None:
        self._record = record

    def synchronize(self) -> None:
        self._record.events.append("waited")


@contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Record]:
    """Let tensors on `meta` be those of a GPU within the block, and record what happens there."""
    record = Record()
    monkeypatch.setattr(transfer, "QUEUED", {GPU.type})
    monkeypatch.setattr(transfer, "pinned", lambda shape, dtype: torch.empty(tuple(shape), dtype=dtype))
    monkeypatch.setattr(transfer, "marker", lambda _device: _Event(record))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: record.held)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: record.peak)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _device: setattr(record, "peak", record.held))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (record.limit - record.held, record.limit))
    with _Operations(record), _Constants():
        yield record
