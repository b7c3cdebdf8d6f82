"""Copies between the CPU and a GPU that do not wait for the GPU, so that one batch is prepared while another runs.

A copy from or to ordinary memory waits until everything has run that was queued before it. So all index arrays of a
batch go to the GPU in one copy from pinned memory, the losses come back in one copy to pinned memory, and an event
tells when they are there. On every other device the copies are the usual ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

QUEUED = {"cuda"}
"""Types of devices that compute what is queued while the CPU goes on."""


class Moved:
    """An index array of a batch, with a copy on each device that asks for it: a model may be on several."""

    def __init__(self, values: NDArray[np.integer]) -> None:
        self.values = values
        self._by_device: dict[torch.device, torch.Tensor] = {}

    def put(self, tensor: torch.Tensor) -> None:
        """Take the first copy."""
        self._by_device[tensor.device] = tensor

    def on(self, device: torch.device) -> torch.Tensor:
        """Return the copy on a device."""
        if device not in self._by_device:
            first = next(iter(self._by_device.values()))
            self._by_device[device] = first.to(device, non_blocking=True)
        return self._by_device[device]


class Outgoing:
    """The index arrays of a batch, which go to the model's device together."""

    def __init__(self) -> None:
        self._arrays: list[Moved] = []

    def add(self, values: NDArray[np.integer]) -> Moved:
        """Take an array of 64 or 32 bit integers along; it is on the device after :meth:`send`."""
        self._arrays.append(Moved(values))
        return self._arrays[-1]

    def send(self, device: torch.device) -> None:
        """Copy all arrays to a device."""
        if device.type not in QUEUED:
            for array in self._arrays:
                array.put(torch.from_numpy(array.values).to(device))
            return
        lengths = [array.values.size for array in self._arrays]
        buffer = pinned([sum(lengths)], torch.int64)
        np.concatenate([array.values.reshape(-1) for array in self._arrays], out=buffer.numpy())
        parts = buffer.to(device, non_blocking=True).split(lengths)
        for array, part in zip(self._arrays, parts, strict=True):
            narrow = part.to(torch.int32) if array.values.dtype == np.int32 else part
            array.put(narrow.view(array.values.shape))


class Incoming:
    """Numbers on their way to the CPU. The copy is queued behind what computes them.

    Args:
        numbers: a tensor on the device that computes it.
    """

    def __init__(self, numbers: torch.Tensor) -> None:
        self._arrival: Any = None
        if numbers.device.type not in QUEUED:
            self._numbers = numbers.cpu()
            return
        self._numbers = pinned(numbers.shape, numbers.dtype)
        self._numbers.copy_(numbers, non_blocking=True)
        self._arrival = marker(numbers.device)

    def wait(self) -> torch.Tensor:
        """Return the numbers when they have arrived."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return self._numbers


def pinned(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Return memory of the CPU that a GPU copies from and to by itself."""
    return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)


def marker(device: torch.device) -> Any:
    """Return an event behind all that is queued on a device so far."""
    # A thread that waits for a blocking event sleeps; otherwise it would keep a core busy.
    event: Any = torch.cuda.Event(blocking=True)
    event.record(torch.cuda.current_stream(device))
    return event
