"""Placement of one model over several GPUs: whole layers, in their order, as transformers and accelerate spread them.

A forward pass without a cache goes through the layers one after the other, so that each GPU holds a part of them and
the hidden states move from one to the next. Tensor parallelism would need a process for each GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rt_framework.errors import ModelError

_FREE = 0.85
"""Share of a GPU's free memory that weights may fill; the rest is for hidden states and logits."""

_GIB = 2**30


def free_memory() -> dict[int | str, int]:
    """Return the bytes of each GPU that weights may fill; none on a machine without GPUs."""
    import torch

    return {number: int(torch.cuda.mem_get_info(number)[0] * _FREE) for number in range(torch.cuda.device_count())}


def placement(name: str, shape: Any, memory: Mapping[int | str, int]) -> dict[str, int]:
    """Return the GPU of each part of a model.

    Args:
        name: name of the model, for messages.
        shape: the model on the device ``meta``, in the dtype in which it will be loaded.
        memory: bytes of each GPU that weights may fill.

    Raises:
        ModelError: there is no GPU, or the model does not fit all of them together.
    """
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    if not memory:
        raise ModelError(f"model '{name}': devices: auto spreads a model over GPUs, and this machine has none")
    whole = list(shape._no_split_modules or ())
    needed = sum(tensor.numel() * tensor.element_size() for tensor in {*shape.parameters(), *shape.buffers()})
    # What does not fit is placed on the CPU here, which shows that it does not fit; nothing is ever loaded there.
    limits: dict[int | str, int] = {**memory, "cpu": 2 * needed}
    balanced = get_balanced_memory(shape, max_memory=dict(limits), no_split_module_classes=whole)
    # Memory balanced by the average layer may be too small for the last ones; then the GPUs are filled in order.
    for most in (balanced, limits):
        found: dict[str, Any] = infer_auto_device_map(shape, max_memory=dict(most), no_split_module_classes=whole)
        if all(isinstance(where, int) for where in found.values()):
            return found
    raise ModelError(
        f"model '{name}' needs {needed / _GIB:.1f} GiB for its weights, and its layers do not fit the "
        f"{sum(memory.values()) / _GIB:.1f} GiB that {len(memory)} visible GPUs have free for them: use more or larger "
        "GPUs, dtype: bfloat16, or a server of several machines (package rt-vllm)"
    )
