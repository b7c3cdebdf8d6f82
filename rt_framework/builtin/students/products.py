"""Matrix products of float32 on a CPU by oneDNN, where torch's own library is slow.

torch computes such products with MKL, which is slow on processors that are not Intel's. oneDNN is a part of torch too.
Which of them is taken follows from the processor and the model and is not timed: their losses differ in the sixth
digit, and a model shall have the same losses each time that it is loaded, however busy the machine is.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

_LEAST = 2**16
"""Fewest weights of the largest layer: a smaller model spends its time elsewhere."""


class OneDnnProducts(TorchFunctionMode):  # type: ignore[misc]
    """Context manager within which oneDNN computes the linear layers. The model itself is not changed."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace ``linear`` by oneDNN's product, and pass every other torch function on."""
        return _product(*args, **kwargs or {}) if func is linear else func(*args, **kwargs or {})


def worthwhile(model: Any) -> bool:
    """Return whether oneDNN computes the products of this model on this machine."""
    if model.device.type != "cpu" or model.dtype != torch.float32 or not torch.backends.mkldnn.is_available():
        return False
    layers = (module.weight for module in model.base_model.modules() if isinstance(module, torch.nn.Linear))
    is_large = max(map(torch.numel, layers), default=0) >= _LEAST
    return is_large and torch.backends.mkl.is_available() and "Intel" not in _processor()


def _processor() -> str:
    """Return the maker of the processor, or words that name it; empty where neither is known."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("vendor_id")), "")


def _product(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return product
