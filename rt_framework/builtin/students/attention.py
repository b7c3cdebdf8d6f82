"""Attention over a packed row, in place of the model's own.

transformers looks the attention function up by name for each layer, so a model is lent another one for
the length of a forward pass and none of its code changes. Each token attends to the nodes of its path.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
import torch
from attrs import evolve, frozen
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from rt_framework.kit.packing import PrefixRow

_NAME = "rt_packed"


@frozen(eq=False)
class Asked:
    """What a layer asks of its attention."""

    query: torch.Tensor
    """[1 × heads × nodes × width]"""
    key: torch.Tensor
    """[1 × heads, or fewer × nodes × width]"""
    value: torch.Tensor
    """As the key."""
    scale: float | None
    """Of the scores; ``None`` is one by the root of the width."""
    window: int | None
    """Sliding window in tokens; ``None`` is full attention."""
    softcap: float | None
    """Bound of the scores; ``None`` leaves them as they are."""

    @property
    def groups(self) -> int:
        """Query heads that share a key head."""
        return int(self.query.shape[1] // self.key.shape[1])


class RowAttention(Protocol):
    """The attention of one row."""

    windows: set[int | None]
    """Sliding windows that layers have asked for, in tokens; ``None`` is full attention."""

    def __call__(self, asked: Asked) -> torch.Tensor:
        """Attend.

        Returns:
            [1 × nodes × heads × width]
        """


_ROW: ContextVar[RowAttention] = ContextVar("row")


@contextmanager
def packed(model: Any, attention: RowAttention) -> Iterator[None]:
    """Within, *model* attends by *attention*."""
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


# Under a name without a mask function transformers builds no mask at all.
AttentionInterface.register(_NAME, _attend)


@frozen(eq=False)
class _Run:
    """The own nodes of one path."""

    first: int
    own: int
    keys: torch.Tensor | None
    """The nodes of the whole path, [keys]; none when they are the own nodes alone."""
    common: int
    """How many of them come before the own ones."""


class RunAttention:
    """Scaled dot-product attention, a run of own nodes at a time. Any device and dtype, soft caps too."""

    def __init__(self, row: PrefixRow, device: torch.device) -> None:
        self.windows: set[int | None] = set()
        self._runs = []
        first = 0
        for path in row.paths:
            common = len(path.nodes) - path.own
            keys = torch.from_numpy(path.nodes).to(device) if common else None
            if path.own:
                self._runs.append(_Run(first, path.own, keys, common))
            first += path.own
        self._masks: dict[tuple[int, int, int | None], torch.Tensor | None] = {}

    def __call__(self, asked: Asked) -> torch.Tensor:
        """Attend."""
        query = asked.query
        out = query.new_empty(1, query.shape[2], query.shape[1], asked.value.shape[3])
        for run in self._runs:
            nodes = slice(run.first, run.first + run.own)
            if run.keys is None:
                key, value = asked.key[:, :, nodes], asked.value[:, :, nodes]
            else:
                key, value = asked.key.index_select(2, run.keys), asked.value.index_select(2, run.keys)
            part = evolve(asked, query=query[:, :, nodes], key=key, value=value)
            out[:, nodes] = _of_run(part, self._mask(run, asked.window, query.device)).transpose(1, 2)
        return out

    def _mask(self, run: _Run, window: int | None, device: torch.device) -> torch.Tensor | None:
        """Which keys each query sees, [queries × keys]; none for a plain causal triangle."""
        length = run.common + run.own
        if window is not None and window >= length:
            window = None
        if window is None and not run.common:
            return None
        shape = (run.common, run.own, window)
        if shape not in self._masks:
            queries = torch.arange(run.common, length, device=device)[:, None]
            keys = torch.arange(length, device=device)
            seen = keys <= queries
            self._masks[shape] = seen if window is None else seen & (keys > queries - window)
        return self._masks[shape]


def _of_run(asked: Asked, mask: torch.Tensor | None) -> torch.Tensor:
    """Attention of one run; without a mask it is causal."""
    query, key, value, groups = asked.query, asked.key, asked.value, asked.groups
    if asked.softcap is None:
        return scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=asked.scale, enable_gqa=groups > 1
        )
    # The library's kernel has no soft cap.
    scores = query @ key.repeat_interleave(groups, 1).mT * (asked.scale or query.shape[-1] ** -0.5)
    scores = torch.tanh(scores / asked.softcap) * asked.softcap
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    weights = scores.masked_fill(~mask, -torch.inf).softmax(-1, dtype=torch.float32)
    return weights.to(value.dtype) @ value.repeat_interleave(groups, 1)


class VarlenAttention:
    """Flash attention over all runs in one kernel: CUDA, half precision, no soft caps.

    Queries are the own nodes of each path and keys the whole path, gathered. The kernel aligns the causal
    triangle at the end, so the first own node sees all that is common.
    """

    def __init__(self, row: PrefixRow, device: torch.device) -> None:
        self.windows: set[int | None] = set()
        paths = [path for path in row.paths if path.own]
        self._keys = torch.from_numpy(np.concatenate([path.nodes for path in paths])).to(device)
        self._queries_end, self._most_queries = _ends([path.own for path in paths], device)
        self._keys_end, self._most_keys = _ends([len(path.nodes) for path in paths], device)

    def __call__(self, asked: Asked) -> torch.Tensor:
        """Attend.

        Raises:
            NotImplementedError: the model caps attention scores.
        """
        from torch.nn.attention.varlen import varlen_attn

        if asked.softcap is not None:
            raise NotImplementedError("flash attention has no soft cap")
        out = varlen_attn(
            asked.query[0].transpose(0, 1),
            asked.key[0].transpose(0, 1)[self._keys],
            asked.value[0].transpose(0, 1)[self._keys],
            self._queries_end,
            self._keys_end,
            self._most_queries,
            self._most_keys,
            scale=asked.scale,
            window_size=(-1 if asked.window is None else asked.window - 1, 0),
            enable_gqa=asked.groups > 1,
        )
        assert isinstance(out, torch.Tensor)  # it is a pair only when asked for more
        return out[None]


def _ends(lengths: list[int], device: torch.device) -> tuple[torch.Tensor, int]:
    """Cumulative lengths as the kernel wants them, from 0, and the largest length."""
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return torch.from_numpy(ends).to(device), max(lengths)
