"""Attention over a packed row, in place of the model's own attention.

transformers looks up the attention function by name in each layer. So a model can use another one for the duration of a
forward pass without any change of its code. Each token attends to the nodes of its path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
import torch
from attrs import evolve, frozen
from numpy.typing import NDArray
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from rt_framework.builtin.students.transfer import Moved, Outgoing
from rt_framework.kit.packing import PrefixRow

_NAME = "rt_packed"

_CPU_QUERIES = 64
"""Queries of one call on a CPU: a call computes the scores of all its keys, also of those that come later."""


@frozen(eq=False)
class Asked:
    """The arguments that a layer passes to its attention."""

    query: torch.Tensor
    """Queries of all nodes, [1 × heads × nodes × width]."""
    key: torch.Tensor
    """Keys of all nodes, [1 × key heads × nodes × width], with as many key heads as heads or fewer."""
    value: torch.Tensor
    """Values of all nodes, in the shape of the keys."""
    scale: float | None
    """Factor of the attention scores; ``None`` is one over the square root of the width."""
    window: int | None
    """Sliding window in tokens; ``None`` is full attention."""
    softcap: float | None
    """Bound of the attention scores; ``None`` leaves them unbounded."""

    @property
    def groups(self) -> int:
        """Number of query heads that share a key head."""
        return int(self.query.shape[1] // self.key.shape[1])


class RowAttention(Protocol):
    """The attention of one packed row."""

    windows: set[int | None]
    """Sliding windows that layers have asked for, in tokens; ``None`` is full attention."""

    def __call__(self, inputs: Asked) -> torch.Tensor:
        """Return the attention output of a layer.

        Returns:
            [1 × nodes × heads × width]
        """


_ROW: ContextVar[RowAttention] = ContextVar("row")


@contextmanager
def with_row_attention(model: Any, attention: RowAttention) -> Iterator[None]:
    """Let *model* use *attention* within the block."""
    before = model.config._attn_implementation
    token = _ROW.set(attention)
    try:
        model.set_attn_implementation(_NAME)
        yield
    finally:
        model.set_attn_implementation(before)
        _ROW.reset(token)


def _attend(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_others: Any,
) -> tuple[torch.Tensor, None]:
    attention = _ROW.get()
    attention.windows.add(sliding_window)
    return attention(Asked(query, key, value, scaling, sliding_window, softcap)), None


# transformers builds no attention mask for an implementation name that has no mask function.
AttentionInterface.register(_NAME, _attend)


@frozen(eq=False)
class _Run:
    """A run: the consecutive nodes that one path added to the row."""

    first: int
    own: int
    keys: Moved | None
    """All nodes of the path, [keys]; ``None`` if the path has no other nodes than its own."""
    common: int
    """Number of nodes of the path that come before its own nodes."""


class RunAttention:
    """Scaled dot-product attention, run by run. Works on any device and dtype, and with soft caps."""

    def __init__(self, row: PrefixRow, outgoing: Outgoing) -> None:
        self.windows: set[int | None] = set()
        self._runs = []
        first = 0
        for path in row.paths:
            common = len(path.nodes) - path.own
            keys = outgoing.add(path.nodes) if common else None
            if path.own:
                self._runs.append(_Run(first, path.own, keys, common))
            first += path.own
        self._masks: dict[tuple[int, int, int | None, torch.device], torch.Tensor | None] = {}

    def __call__(self, inputs: Asked) -> torch.Tensor:
        """Return the attention output, computed run by run."""
        query, device = inputs.query, inputs.query.device
        out = query.new_empty(1, query.shape[2], query.shape[1], inputs.value.shape[3])
        for run in self._runs:
            if run.keys is None:
                nodes = slice(run.first, run.first + run.own)
                key, value = inputs.key[:, :, nodes], inputs.value[:, :, nodes]
            else:
                keys = run.keys.on(device)
                key, value = inputs.key.index_select(2, keys), inputs.value.index_select(2, keys)
            step = _CPU_QUERIES if device.type == "cpu" else run.own
            for start in range(0, run.own, step):
                own = min(step, run.own - start)
                common = run.common + start
                nodes, seen = slice(run.first + start, run.first + start + own), common + own
                part = evolve(inputs, query=query[:, :, nodes], key=key[:, :, :seen], value=value[:, :, :seen])
                out[:, nodes] = _of_run(part, self._mask(common, own, inputs.window, device)).transpose(1, 2)
        return out

    def _mask(self, common: int, own: int, window: int | None, device: torch.device) -> torch.Tensor | None:
        """Return which keys each query sees, [queries × keys]; ``None`` for a plain causal triangle."""
        length = common + own
        if window is not None and window >= length:
            window = None
        if window is None and not common:
            return None
        shape = (common, own, window, device)
        if shape not in self._masks:
            queries = torch.arange(common, length, device=device)[:, None]
            keys = torch.arange(length, device=device)
            seen = keys <= queries
            self._masks[shape] = seen if window is None else seen & (keys > queries - window)
        return self._masks[shape]


def _of_run(inputs: Asked, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the attention output of one run; without a mask it is causal."""
    query, key, value, groups = inputs.query, inputs.key, inputs.value, inputs.groups
    if inputs.softcap is None:
        return scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=inputs.scale, enable_gqa=groups > 1
        )
    # PyTorch's scaled_dot_product_attention has no soft cap.
    scores = query @ key.repeat_interleave(groups, 1).mT * (inputs.scale or query.shape[-1] ** -0.5)
    scores = torch.tanh(scores / inputs.softcap) * inputs.softcap
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1, dtype=torch.float32)
    return weights.to(value.dtype) @ value.repeat_interleave(groups, 1)


class VarlenAttention:
    """Flash attention over all runs in one kernel: CUDA, half precision, no soft caps.

    The queries are the own nodes of each path, and the keys are the whole path, gathered. The kernel aligns the causal
    triangle at the end, so the first own node sees all nodes that come before it in its path.
    """

    def __init__(self, row: PrefixRow, outgoing: Outgoing) -> None:
        self.windows: set[int | None] = set()
        paths = [path for path in row.paths if path.own]
        own, whole = [path.own for path in paths], [len(path.nodes) for path in paths]
        self._keys = outgoing.add(np.concatenate([path.nodes for path in paths]))
        self._queries_end, self._keys_end = outgoing.add(_ends(own)), outgoing.add(_ends(whole))
        self._most_queries, self._most_keys = max(own), max(whole)

    def __call__(self, inputs: Asked) -> torch.Tensor:
        """Return the attention output, computed by one kernel call.

        Raises:
            NotImplementedError: the model caps attention scores.
        """
        from torch.nn.attention.varlen import varlen_attn

        if inputs.softcap is not None:
            raise NotImplementedError("flash attention has no soft cap")
        device = inputs.query.device
        keys = self._keys.on(device)
        out = varlen_attn(
            inputs.query[0].transpose(0, 1),
            inputs.key[0].transpose(0, 1)[keys],
            inputs.value[0].transpose(0, 1)[keys],
            self._queries_end.on(device),
            self._keys_end.on(device),
            self._most_queries,
            self._most_keys,
            scale=inputs.scale,
            window_size=(-1 if inputs.window is None else inputs.window - 1, 0),
            enable_gqa=inputs.groups > 1,
        )
        assert isinstance(out, torch.Tensor)  # the kernel returns a pair only when asked for more than the output
        return out[None]


def _ends(lengths: list[int]) -> NDArray[np.int32]:
    """Return the cumulative lengths, from 0, in the form that the kernel takes."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
