"""What only a GPU can show. Skipped without one: `pytest tests/gpu` on a machine that has one."""

from __future__ import annotations

import random

import pytest
import torch
from torch.nn.functional import cross_entropy

from rt_framework.builtin.executors.processes import ProcessesExecutor
from rt_framework.builtin.executors.settings import ProcessesSettings
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.probe import choose
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.errors import OutOfMemory
from rt_framework.model import EncodedSpan, Span
from rt_framework.plan import plan
from tests import tiny_models as tiny

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.timeout(600),
]

FAMILIES = {
    "llama": lambda: tiny.family("Llama", num_attention_heads=4, num_key_value_heads=2),
    "qwen3": lambda: tiny.family("Qwen3", head_dim=16),
    "mistral-sliding": tiny.mistral,
    "gemma2-softcap": tiny.gemma2,
    "gemma3-sliding": tiny.gemma3,
    "gpt2": tiny.gpt2,
    "phi3-longrope": tiny.phi3,
}
SOFT_CAPPED = {"gemma2-softcap"}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Hashes are remembered in a directory of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def sequences(seed=0, count=24):
    """Sequences that share starts of several lengths, some longer than every window."""
    source = random.Random(seed)
    spans: list[EncodedSpan] = []
    for _ in range(count):
        ids = source.choice(spans).ids if spans and source.random() < 0.7 else ()
        ids = ids[: source.randrange(len(ids) + 1)]
        ids += tuple(source.randrange(2, 320) for _ in range(source.randrange(2, 24)))
        spans.append(EncodedSpan(ids[:48], source.randrange(1, min(len(ids), 48))))
    return spans


def alone(model, span):
    """Mean loss by the model alone, in float32 on the CPU."""
    ids = torch.tensor(span.ids)
    with torch.inference_mode():
        logits = model(ids[None, :-1]).logits[0]
    return float(cross_entropy(logits[span.start - 1 :], ids[span.start :]))


def packed(way, spans, budget=200):
    """Mean losses by packed batches, by sequence."""
    found = {}
    for batch in plan(spans, lambda: budget, packed=way.packs):
        for span, nll in zip(batch.spans, way.losses.sums(batch.spans), strict=True):
            found[span] = nll / (len(span.ids) - span.start)
    return [found[span] for span in spans]


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
def test_packed_losses_are_those_of_the_cpu(kind, dtype, close):
    """Within 1e-4 nats in float32, 2e-2 in bfloat16."""
    model = FAMILIES[kind]()
    spans = sequences()
    expected = [alone(model, span) for span in spans]
    way = choose(model.to("cuda", dtype), None)
    half = dtype == torch.bfloat16 and kind not in SOFT_CAPPED
    assert way.packs, way.path
    assert way.path.startswith("packed rows, flash attention" if half else "packed rows, attention by run"), way.path
    assert packed(way, spans) == pytest.approx(expected, abs=close)


def test_scores_do_not_depend_on_batch_mates():
    """In bfloat16, by flash attention: any budget gives the same but for rounding."""
    way = choose(FAMILIES["llama"]().to("cuda", torch.bfloat16), None)
    spans = sequences(count=60)
    whole = packed(way, spans, 10**6)
    for budget in (1, 64, 300):
        assert packed(way, spans, budget) == pytest.approx(whole, abs=2e-2)


@pytest.mark.model
@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-4), ("bfloat16", 2e-2)])
def test_a_real_model_agrees_with_the_cpu(dtype, close, smollm2):
    """SmolLM2: mean losses of whole texts."""
    texts = [
        Span(
            f"Question {number}: name the colours of the rainbow.\n",
            "Red, orange, yellow, green, blue, indigo and violet.",
        )
        for number in range(8)
    ]
    reference = HFStudent(HFSettings(smollm2, dtype="float32", device="cpu"))
    student = HFStudent(HFSettings(smollm2, dtype=dtype, device="cuda"))
    pairs = zip(reference.score(reference.encode(texts)), student.score(student.encode(texts)), strict=True)
    for cpu, gpu in pairs:
        assert gpu.nll / gpu.tokens == pytest.approx(cpu.nll / cpu.tokens, abs=close)


def test_running_out_of_memory_is_told_and_survived(tmp_path):
    """A batch that does not fit raises; a small one afterwards is scored."""
    student = HFStudent(HFSettings(tiny.save(tmp_path, tiny.llama(4096), tiny.tokenizer()), device="cuda"))
    assert student.packs
    small = EncodedSpan((5, 6, 7), 1)
    expected = student.score([small])
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((held + 16 * 2**20) / total)
    try:
        large = [EncodedSpan((at, *range(2, 300), *range(2, 300)), 1) for at in range(2, 300)]
        with pytest.raises(OutOfMemory):
            student.score(large)
        assert student.score([small]) == expected
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


async def test_each_gpu_has_a_process(tmp_path):
    """The student in another process, on its own device, gives what it gives here."""
    student = HFStudent(HFSettings(tiny.save(tmp_path, tiny.llama(), tiny.tokenizer()), dtype="float32", device="cuda"))
    executor = ProcessesExecutor(ProcessesSettings())
    executor.start(_Factory(student))
    spans = student.encode([Span("Name ", "the colours of the rainbow.")])
    try:
        assert executor.workers == torch.cuda.device_count()
        (found,) = await executor.run(_Score(spans))
    finally:
        executor.close()
    (expected,) = student.score(spans)
    assert found.nll == pytest.approx(expected.nll, abs=1e-4)


class _Factory:
    """A factory that can be pickled."""

    def __init__(self, student):
        self._student = student

    def __call__(self):
        return self._student


class _Score:
    """Work that can be pickled."""

    def __init__(self, spans):
        self._spans = spans

    def __call__(self, student):
        return student.score(self._spans)
