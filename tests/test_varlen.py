"""Flash attention over packed rows, as far as a CPU shows it: the kernel's call under fake tensors, and its meaning.

The kernel itself runs on CUDA alone. Here a plain function with the kernel's documented meaning stands in its place.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import varlen

from rt_framework.builtin.students.attention import VarlenAttention, with_row_attention
from rt_framework.builtin.students.forward import TargetLosses
from rt_framework.builtin.students.transfer import Outgoing
from rt_framework.kit.packing import PrefixRow
from tests import tiny_models as tiny

CAPPED = {"gemma2"}
"""Families whose soft cap flash attention does not have."""

FLASH = [name for name in tiny.FAMILIES if name not in CAPPED]


def reference(
    query, key, value, queries_end, keys_end, most_queries, most_keys, *, scale=None, window_size=(-1, -1), enable_gqa
):
    """The kernel's result, sequence by sequence: causal, aligned at the end; [tokens × heads × width]."""
    groups = query.shape[1] // key.shape[1]
    assert enable_gqa is (groups > 1)
    assert queries_end.dtype == keys_end.dtype == torch.int32 and queries_end[0] == keys_end[0] == 0
    assert queries_end[-1] == len(query) and keys_end[-1] == len(key) == len(value)
    assert most_queries == queries_end.diff().max() and most_keys == keys_end.diff().max()
    left, right = window_size
    out = []
    for number in range(len(queries_end) - 1):
        asking = query[queries_end[number] : queries_end[number + 1]].transpose(0, 1)
        part = slice(keys_end[number], keys_end[number + 1])
        seen, given = (one[part].repeat_interleave(groups, 1).transpose(0, 1) for one in (key, value))
        scores = asking @ seen.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        # Query i of n stands at key i + m - n of m.
        places = torch.arange(asking.shape[1])[:, None] + seen.shape[1] - asking.shape[1]
        keys = torch.arange(seen.shape[1])
        visible = (keys <= places + right) & ((keys >= places - left) if left >= 0 else torch.tensor(True))
        out.append((scores.masked_fill(~visible, -math.inf).softmax(-1) @ given).transpose(0, 1))
    return torch.cat(out)


@pytest.mark.parametrize("kind", FLASH)
@pytest.mark.parametrize("seed", [0, 1])
def test_by_the_meaning_of_the_kernel_every_loss_is_the_models_own(kind, seed, monkeypatch):
    """For every family: grouped heads, sliding windows, shared prefixes of several lengths."""
    monkeypatch.setattr(varlen, "varlen_attn", reference)
    model = tiny.FAMILIES[kind]()
    spans = tiny.sequences(seed, count=24, longest=48)
    found = TargetLosses(model, None, VarlenAttention).sums(spans)
    means = [nll / (len(span.ids) - span.start) for nll, span in zip(found, spans, strict=True)]
    assert means == pytest.approx([tiny.alone(model, span) for span in spans], abs=1e-5)


@pytest.mark.parametrize("kind", FLASH)
def test_the_kernel_takes_what_it_is_given(kind, monkeypatch):
    """Its call in a whole forward pass in bfloat16, with tensors that have shapes and no content.

    A build of torch without CUDA cannot move fake tensors to a GPU, so they are those of a CPU.
    """
    calls = []
    kernel = varlen.varlen_attn

    def watched(*arguments, **options):
        out = kernel(*arguments, **options)
        calls.append((arguments, options, out))
        return out

    monkeypatch.setattr(varlen, "varlen_attn", watched)
    row = PrefixRow.of(tiny.sequences(count=12, longest=48))
    model = tiny.FAMILIES[kind]().to(torch.bfloat16)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        device = torch.device("cpu")
        ids, positions = (torch.from_numpy(one).to(device)[None] for one in (row.ids, row.positions))
        outgoing = Outgoing()
        attention = VarlenAttention(row, outgoing)
        outgoing.send(device)
        with with_row_attention(model, attention):
            states = model.base_model(ids, position_ids=positions, use_cache=False).last_hidden_state
    assert states.shape[:2] == (1, len(row.ids)) and states.dtype == torch.bfloat16
    assert len(calls) == model.config.num_hidden_layers
    for (query, key, value, queries_end, keys_end, *_), options, out in calls:
        assert query.dtype == key.dtype == value.dtype == out.dtype == torch.bfloat16
        assert queries_end.dtype == keys_end.dtype == torch.int32
        assert len(query) == len(row.ids) and key.shape == value.shape and len(key) >= len(query)
        assert out.shape == query.shape
        assert options["window_size"][1] == 0
    windows = {options["window_size"][0] for _, options, _ in calls}
    assert windows == {-1 if window is None else window - 1 for window in attention.windows}
