"""One model over several devices: where its layers go, and that losses stay the same; and models that are refused."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from accelerate import dispatch_model

from rt_framework.builtin.placement import placement
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.probe import choose
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.errors import ConfigError, ModelError
from rt_framework.spans import Span
from tests import tiny_models as tiny


@pytest.fixture
def shape():
    """A Llama of eight layers that has shapes and no weights, and its size in bytes."""
    config = tiny.family("Llama", num_hidden_layers=8).config
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    return model, sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())


@pytest.mark.parametrize("shares", [(1.0, 1.0), (0.5, 0.8), (0.6, 0.4, 0.6)])
def test_whole_layers_go_to_the_gpus_in_order(shape, shares):
    """Every part of the model has one GPU, no layer is before an earlier one, and no GPU has more than it holds."""
    model, size = shape
    memory = {number: int(size * share) for number, share in enumerate(shares)}
    places = placement("any", model, memory)
    layers = [places[f"model.layers.{number}"] for number in range(8)]
    assert layers == sorted(layers) and len(set(places.values())) > 1
    held = dict.fromkeys(memory, 0)
    for name, tensor in model.named_parameters():
        held[next(where for part, where in places.items() if name.startswith(f"{part}."))] += tensor.numel() * 4
    assert all(held[number] <= most for number, most in memory.items())


def test_a_model_that_does_not_fit_is_refused(shape):
    """No layer is ever left on the CPU; the way out is named. So is a machine without GPUs."""
    model, size = shape
    with pytest.raises(ModelError, match=r"do not fit the .* that 2 visible GPUs have free .* or a server of"):
        placement("any", model, {0: size // 3, 1: size // 3})
    with pytest.raises(ModelError, match="this machine has none"):
        placement("any", model, {})


@pytest.mark.parametrize("kind", ["llama", "gemma3", "gpt2", "cohere"])
def test_losses_are_those_of_one_device(kind):
    """With the hooks by which hidden states move between devices; here all devices are the CPU."""
    spans = tiny.sequences(count=20)
    model = tiny.FAMILIES[kind]()
    expected = [tiny.alone(model, span) for span in spans]
    spread = dispatch_model(model, {"": "cpu"}, force_hooks=True)
    way = choose(spread, None)
    assert way.packs and "head on targets" in way.path
    assert tiny.means(way, spans) == pytest.approx(expected, abs=1e-5)


def test_a_student_asks_for_all_gpus(tmp_path):
    """`devices: auto`: refused in one line where there are none, and beside `device`."""
    model = tiny.save(tmp_path / "model", tiny.llama(), tiny.tokenizer())
    student = HFStudent(HFSettings(model, dtype="float32", devices="auto"))
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="spreads a model over GPUs, and this machine has none"):
            student.score(student.encode([Span("Name ", "the colours.")]))
    with pytest.raises(ConfigError, match="device 'cpu' and devices 'auto' are given"):
        HFSettings(model, device="cpu", devices="auto")


@pytest.mark.parametrize("method", ["fp8", "bitsandbytes", "gptq"])
def test_a_quantised_model_is_refused(method, tmp_path):
    """In one line that names the method and the ways out; so is Apple's GPU, on which nothing was compared."""
    model = tiny.save(tmp_path / "model", tiny.llama(), tiny.tokenizer())
    config = json.loads((tmp_path / "model/config.json").read_text())
    config["quantization_config"] = {"quant_method": method, "bits": 4}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    student = HFStudent(HFSettings(model, dtype="float32"))
    with pytest.raises(ModelError, match=rf"is quantised \({method}\).*package rt-vllm, dtype: other"):
        student.score(student.encode([Span("Name ", "the colours.")]))
    with pytest.raises(ConfigError, match="device mps"):
        HFSettings(model, device="mps:0")
