"""A whole batch is queued on a GPU without a wait: shown on tensors that have shapes and no content."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, masking_utils

from rt_framework.builtin.students import room
from rt_framework.builtin.students.attention import RunAttention, VarlenAttention
from rt_framework.builtin.students.forward import TargetLosses, TargetMeans
from rt_framework.builtin.students.head import TargetHead
from rt_framework.spans import EncodedSpan
from tests import tiny_models as tiny
from tests.fake_gpu import GPU, Waits, fake_gpu

CAPPED = {"gemma2"}
"""Families whose soft cap flash attention does not have."""

WAITING = {"phi3-longrope"}
"""Families whose code in transformers looks at the longest position."""

QUEUED = [kind for kind in tiny.FAMILIES if kind not in WAITING]


def on_gpu(kind):
    """A tiny model in bfloat16, without content."""
    model = tiny.FAMILIES[kind]().to(torch.bfloat16).to(GPU)
    model.config.pad_token_id = None  # with one, GPT-2 looks for padding in each batch, to warn of it
    return model


@pytest.fixture
def unlooked(monkeypatch):
    """Transformers without its one look at a padded batch: whether positions start anew in it, as in packed rows."""
    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda position_ids: None)


def losses_of(model, attention):
    """The way that is chosen on a GPU."""
    return TargetLosses(model, TargetHead(model.get_output_embeddings(), model.config), attention)


def by_token(spans):
    """The same, each with its losses by token."""
    return [EncodedSpan(span.ids, span.start, by_token=True) for span in spans]


def seven_billion():
    """A model of the shape of Llama 2 7B in bfloat16, without content."""
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        max_position_embeddings=4096,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("meta"):
            return LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)


def texts(tokens, length=120, start=40):
    """Sequences of random tokens, two after each start, with so many tokens together."""
    source = random.Random(0)
    spans = []
    for _ in range(tokens // (2 * length)):
        common = tuple(source.randrange(3, 32000) for _ in range(start))
        for _ in range(2):
            ids = common + tuple(source.randrange(3, 32000) for _ in range(length - start // 2))
            spans.append(EncodedSpan(ids, start))
    return spans


@pytest.mark.usefixtures("unlooked")
@pytest.mark.parametrize("asked", [list, by_token], ids=["sums", "by token"])
@pytest.mark.parametrize("attention", [VarlenAttention, RunAttention, None], ids=["flash", "by run", "padded"])
@pytest.mark.parametrize("kind", QUEUED)
def test_a_batch_goes_in_one_copy_and_comes_back_in_one(kind, attention, asked, monkeypatch):
    """Nothing between the two waits: no number is looked at, and no shape depends on one."""
    if attention is VarlenAttention and kind in CAPPED:
        pytest.skip("has soft caps")
    losses = losses_of(on_gpu(kind), attention)
    with fake_gpu(monkeypatch) as record:
        pending = losses.begin(asked(tiny.sequences(count=24, longest=48)))
        assert record.events == ["to_gpu", "to_cpu"]
        found = pending()
        assert record.events == ["to_gpu", "to_cpu", "waited"]
    assert record.operations > 50
    assert len(found) == 24 and all(loss.nll == 0 for loss in found)


@pytest.mark.parametrize(("kind", "attention"), [("llama", None), *((kind, VarlenAttention) for kind in WAITING)])
def test_what_waits_in_transformers_is_known(kind, attention, monkeypatch):
    """Padded batches, and LongRoPE in any: the docs tell so."""
    losses = losses_of(on_gpu(kind), attention)
    with fake_gpu(monkeypatch), pytest.raises(Waits):
        losses.begin(tiny.sequences(count=24, longest=48))


def test_the_second_batch_is_queued_before_the_first_is_waited_for(monkeypatch):
    """That is what keeps a GPU busy."""
    losses = losses_of(on_gpu("llama"), VarlenAttention)
    with fake_gpu(monkeypatch) as record:
        first, second = (losses.begin(tiny.sequences(seed)) for seed in (0, 1))
        first(), second()
    assert record.events == ["to_gpu", "to_cpu"] * 2 + ["waited"] * 2


@pytest.mark.usefixtures("unlooked")
def test_means_of_hidden_states_are_queued_too(monkeypatch):
    """For selection by embedding."""
    means = TargetMeans(on_gpu("llama"))
    with fake_gpu(monkeypatch) as record:
        vectors = means.begin(tiny.sequences())()
    assert record.events == ["to_gpu", "to_cpu", "waited"]
    assert len(vectors) == 14 and {len(vector) for vector in vectors} == {32}


def test_seven_billion_weights_need_no_wait(monkeypatch):
    """32,000 tokens in one row, by flash attention."""
    losses = losses_of(seven_billion(), VarlenAttention)
    with fake_gpu(monkeypatch) as record:
        losses.begin(texts(32_000))()
    assert record.events == ["to_gpu", "to_cpu", "waited"]


GIB = 2**30


@pytest.mark.parametrize(
    ("free", "tokens"),
    [(0.2, (1024, 1024)), (1, (1024, 5000)), (2, (8000, 15000)), (4, (15000, 30000)), (120, (32768, 32768))],
)
def test_a_batch_has_as_many_tokens_as_the_memory_has_room_for(free, tokens, monkeypatch):
    """With 7 billion weights in bfloat16, that many GiB beside them, and texts that share their beginnings."""
    model = seven_billion()
    losses = losses_of(model, VarlenAttention)
    with fake_gpu(monkeypatch) as record:
        record.limit = int(free * GIB)
        found = room.tokens_with_room(losses, model, 4096)
        assert tokens[0] <= found <= tokens[1]
        if free >= 1:
            losses.of(texts(found))  # runs out of memory otherwise
