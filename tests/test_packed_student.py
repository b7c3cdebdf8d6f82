"""Packed rows give what one sequence alone gives, for every architecture that can be packed; the others say why not."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rt_framework.builtin.students import attention, head
from rt_framework.builtin.students.attention import RunAttention
from rt_framework.builtin.students.forward import TargetLosses
from rt_framework.builtin.students.head import TargetHead
from rt_framework.builtin.students.probe import choose
from rt_framework.builtin.students.products import OneDnnProducts, worthwhile
from rt_framework.scoring.planning import plan
from tests import tiny_models as tiny
from tests.tiny_models import FAMILIES, means, sequences

UNPACKED = {
    "bloom": lambda: tiny.family("Bloom", n_layer=2, n_head=2),
    "mamba": lambda: tiny.family("Mamba", state_size=4),
}


@cache
def model_of(kind):
    """The model, and how it is run."""
    model = (FAMILIES | UNPACKED)[kind]()
    # Weights as small as the initial ones would make every token equally likely, whatever it attends to.
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "conv" not in name:
                weight.mul_(8)
    return model, choose(model, None)


@cache
def alone(kind, span):
    """Mean loss by the model alone."""
    return tiny.alone(model_of(kind)[0], span)


@pytest.mark.parametrize("kind", FAMILIES)
def test_packed_losses_are_those_of_one_sequence_alone(kind):
    """In float32 within 1e-5 nats a token."""
    _, way = model_of(kind)
    assert way.packs, way.path
    assert way.path == "packed rows, attention by run; head on targets"
    spans = sequences()
    expected = [alone(kind, span) for span in spans]
    assert max(expected) - min(expected) > 0.05
    assert means(way, spans) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", FAMILIES)
def test_attention_in_pieces_changes_nothing(kind, monkeypatch):
    """Of a long sequence a few queries at a time, with and without a shared beginning, a window or a cap."""
    monkeypatch.setattr(attention, "_CPU_QUERIES", 5)
    spans = sequences()
    assert means(model_of(kind)[1], spans) == pytest.approx([alone(kind, span) for span in spans], abs=1e-5)


@pytest.mark.parametrize("kind", [*FAMILIES, *UNPACKED])
def test_padded_losses_are_those_of_one_sequence_alone(kind):
    """The general path gives the same."""
    model, _ = model_of(kind)
    way = choose(model, "sdpa")
    assert not way.packs
    assert way.path.startswith("padded batches: attention 'sdpa' is asked for; ")
    spans = sequences()
    assert means(way, spans) == pytest.approx([alone(kind, span) for span in spans], abs=1e-5)


@pytest.mark.parametrize("kind", UNPACKED)
def test_what_cannot_be_packed_is_padded_and_says_why(kind):
    """A model whose attention is not looked up, or that has none, is found out by its own losses."""
    _, way = model_of(kind)
    assert not way.packs
    assert way.path.startswith("padded batches: with packed rows the model ")
    spans = sequences()
    assert means(way, spans) == pytest.approx([alone(kind, span) for span in spans], abs=1e-5)


@pytest.mark.parametrize("kind", FAMILIES)
@settings(max_examples=8)
@given(seed=st.integers(0, 10**6), budget=st.integers(1, 120), shuffler=st.randoms(use_true_random=False))
def test_losses_depend_on_the_sequence_alone(kind, seed, budget, shuffler):
    """Not on order, batch mates or budget."""
    _, way = model_of(kind)
    spans = sequences(seed, count=6)
    shuffler.shuffle(spans)
    for batch in plan(spans, lambda: budget, packed=True):
        expected = [alone(kind, span) for span in batch.spans]
        assert means(way, batch.spans) == pytest.approx(expected, abs=1e-5)


def test_packing_leaves_the_model_as_it_was():
    """A teacher may share it: between two passes it attends as before."""
    model, way = model_of("llama")
    ids = torch.arange(2, 30)[None]
    before = model(ids).logits
    way.losses.sums(sequences())
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(model(ids).logits, before)


def test_blocks_of_the_vocabulary_change_nothing(monkeypatch):
    """The running log-sum-exp over many small blocks is the one over all."""
    _, way = model_of("gemma2")
    spans = sequences()
    whole = means(way, spans)
    monkeypatch.setitem(head.LOGITS_BYTES, "cpu", 4 * 7 * 5)
    monkeypatch.setattr(head, "_ROWS", 5)
    assert means(way, spans) == pytest.approx(whole, abs=1e-6)


def test_a_window_that_the_attention_is_not_told_is_an_obstacle():
    """The probe is shorter than a window, so a model that applies one by its mask alone would pass it."""
    model = tiny.mistral()
    told = choose(model, None)
    assert told.packs
    model.config.sliding_window = None
    model.config.layer_types = ["sliding_attention", "full_attention"]
    silent = choose(model, None)
    assert not silent.packs
    assert "does not pass its sliding window to attention" in silent.path


@pytest.mark.parametrize("kind", ["llama", "gpt2", "phi"])
def test_other_matrix_products_change_nothing(kind):
    """Taken by oneDNN in place of torch's own library: the same losses, with and without biases."""
    model, way = model_of(kind)
    spans = sequences()
    fast = TargetLosses(model, TargetHead(model.get_output_embeddings(), model.config), RunAttention, OneDnnProducts)
    sums = fast.sums(spans)
    assert sums == pytest.approx(way.losses.sums(spans), abs=1e-4)
    assert torch.nn.functional.linear(torch.eye(2), torch.eye(2)).equal(torch.eye(2))


@pytest.mark.parametrize(
    ("maker", "width", "taken"),
    [("GenuineIntel", 256, False), ("AuthenticAMD", 256, True), ("AuthenticAMD", 32, False), ("", 256, True)],
)
def test_processor_and_model_decide_who_multiplies(maker, width, taken, monkeypatch):
    """Each load of a model decides alike, however busy the machine is, so that its losses are the same."""
    monkeypatch.setattr("rt_framework.builtin.students.products._processor", lambda: maker)
    model = tiny.family("Llama", hidden_size=width, intermediate_size=256, num_attention_heads=4)
    assert worthwhile(model) == (taken and torch.backends.mkl.is_available())
    assert not worthwhile(model.to(torch.bfloat16))
