"""Checks that need a GPU, skipped on a machine without one: `pytest tests/gpu` runs them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch

from rt_framework.builtin.executors.processes import ProcessesExecutor
from rt_framework.builtin.executors.settings import ProcessesSettings
from rt_framework.builtin.students import room
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.probe import choose
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.errors import OutOfMemory
from rt_framework.scoring.planning import plan
from rt_framework.spans import EncodedSpan, Span
from tests import tiny_models as tiny
from tests.run_helpers import as_it_is

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.timeout(600),
]

KINDS = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3", "gpt2", "phi3-longrope")
SOFT_CAPPED = {"gemma2"}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Hashes are remembered in a directory of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def packed(way, spans, budget=200):
    """Mean losses by packed batches, by sequence."""
    found = {}
    for batch in plan(spans, lambda: budget, packed=way.packs):
        found |= zip(batch.spans, tiny.means(way, batch.spans), strict=True)
    return [found[span] for span in spans]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-4), (torch.bfloat16, 2e-2)])
def test_packed_losses_are_those_of_the_cpu(kind, dtype, close):
    """Within 1e-4 nats in float32, 2e-2 in bfloat16."""
    model = tiny.FAMILIES[kind]()
    spans = tiny.sequences(count=24, longest=48)
    expected = [tiny.alone(model, span) for span in spans]
    way = choose(model.to("cuda", dtype), None)
    half = dtype == torch.bfloat16 and kind not in SOFT_CAPPED
    assert way.packs, way.path
    assert way.path.startswith("packed rows, flash attention" if half else "packed rows, attention by run"), way.path
    assert packed(way, spans) == pytest.approx(expected, abs=close)


def test_scores_do_not_depend_on_batch_mates():
    """In bfloat16, by flash attention: any budget gives the same but for rounding."""
    way = choose(tiny.FAMILIES["qwen2"]().to("cuda", torch.bfloat16), None)
    spans = tiny.sequences(count=60, longest=48)
    whole = packed(way, spans, 10**6)
    for budget in (1, 64, 300):
        assert packed(way, spans, budget) == pytest.approx(whole, abs=2e-2)


@pytest.mark.model
@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-4), ("bfloat16", 1e-1)])
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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "phi3-longrope"])
def test_a_batch_is_queued_without_a_wait(kind):
    """Torch refuses every operation that would wait for the GPU."""
    model = tiny.FAMILIES[kind]().to("cuda", torch.bfloat16)
    way = choose(model, None)
    model.config.pad_token_id = None  # with one, GPT-2 looks for padding in each batch, to warn of it
    spans = tiny.sequences(count=24, longest=48)
    expected = way.losses.of(spans)
    torch.cuda.set_sync_debug_mode("error")
    try:
        pending = way.losses.begin(spans)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert pending() == expected


def test_two_threads_give_what_one_gives(tmp_path):
    """A batch is queued while another is waited for; the second one may not touch what the first one still reads."""
    student = HFStudent(HFSettings(tiny.save(tmp_path, tiny.llama(), tiny.tokenizer()), dtype="float32", device="cuda"))
    batches = [tiny.sequences(seed, count=24, longest=48) for seed in range(40)]
    expected = [student.score(batch) for batch in batches]
    assert student.threads == 2
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(student.score, batches)) == expected


def test_a_batch_of_the_size_that_was_found_has_room(tmp_path):
    """And a GPU with memory for more gets the largest size."""
    student = HFStudent(HFSettings(tiny.save(tmp_path, tiny.llama(4096), tiny.tokenizer()), device="cuda"))
    assert room.LEAST <= student.batch_tokens <= room.MOST
    student.score(room.sample(student._loaded.model, student.batch_tokens, 4096))


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
    executor.start(partial(as_it_is, student))
    spans = student.encode([Span("Name ", "the colours of the rainbow.")])
    try:
        assert executor.workers == torch.cuda.device_count()
        (found,) = await executor.run(_Score(spans))
    finally:
        executor.close()
    (expected,) = student.score(spans)
    assert found.nll == pytest.approx(expected.nll, abs=1e-4)


class _Score:
    """Work that can be pickled."""

    def __init__(self, spans):
        self._spans = spans

    def __call__(self, student):
        return student.score(self._spans)
