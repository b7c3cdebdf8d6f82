"""Matrix products of float32 on a CPU by oneDNN, where it is faster than the library that torch uses.

torch computes such products with MKL, which is slow on processors that are not Intel's. oneDNN is a part of torch too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

_ROWS = 1024
_TRIES = 5
_WORTH = 0.9
"""Largest share of the usual time that counts as faster: a smaller gain is within the noise of a small machine."""

_LEAST = 2**16
"""Fewest weights of a layer on which a difference in time can be measured."""


class OneDnnProducts(TorchFunctionMode):  # type: ignore[misc]
    """Context manager within which oneDNN computes the linear layers. The model itself is not changed."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace ``linear`` by oneDNN's product, and pass every other torch function on."""
        return _product(*args, **kwargs or {}) if func is linear else func(*args, **kwargs or {})


def worthwhile(model: Any) -> bool:
    """Return whether oneDNN is faster for this model on this machine: its largest layer is timed both ways."""
    layers = [module.weight for module in model.base_model.modules() if isinstance(module, torch.nn.Linear)]
    if model.device.type != "cpu" or model.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return False
    largest = max(layers, key=torch.numel, default=None)
    if largest is None or largest.numel() < _LEAST:
        return False
    states = torch.randn(_ROWS, largest.shape[1])
    with torch.inference_mode():
        times = [(_seconds(linear, states, largest), _seconds(_product, states, largest)) for _ in range(_TRIES)]
    usual, other = (statistics.median(side) for side in zip(*times, strict=True))
    return bool(other <= _WORTH * usual)


def _product(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return product


def _seconds(product: Callable[..., torch.Tensor], states: torch.Tensor, weight: torch.Tensor) -> float:
    start = time.perf_counter()
    product(states, weight)
    return time.perf_counter() - start
