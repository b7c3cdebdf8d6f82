"""The local student: its losses are the published procedure's, and depend on the sample alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from benchmarks.published import mean_loss
from rt_framework import EncodedSpan, OutOfMemory, Span, SpanLoss, Turn
from rt_framework.builtin.students import forward
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.probe import choose
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.kit.tokenizing import render
from tests import tiny_models as tiny

ORACLE = Path(__file__).parents[2] / "shared" / "oracle"
RAINBOW = "Red, orange, yellow, green, blue, indigo and violet."
ASK = (Turn("user", "Name the colours of the rainbow."),)
PAIRS = [
    ("Name the colours.\n", RAINBOW),
    ("What is 12 times 7?\n", "84"),
    ("Write a short poem.\n\n", "The river runs, the river sings."),
    ("", "Nothing stands before me."),
]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Hashes are remembered in a directory of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def smol(smollm2) -> HFStudent:
    return HFStudent(HFSettings(smollm2, device="cpu"))


def loaded(folder: str) -> tuple[HFStudent, Any, Any]:
    """Our student, and transformers' model and tokenizer for the baseline."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return HFStudent(HFSettings(folder, device="cpu")), model, AutoTokenizer.from_pretrained(folder)


def encoded(student: HFStudent, *spans: Span) -> list[EncodedSpan]:
    found = student.encode(spans)
    assert all(isinstance(span, EncodedSpan) for span in found), found
    return list(found)


def means(losses: Sequence[SpanLoss]) -> list[float]:
    return [loss.nll / loss.tokens for loss in losses]


def status(student: HFStudent, span: Span) -> str:
    (found,) = student.encode([span])
    assert isinstance(found, SpanLoss) and found.nll is None and found.tokens == 0 and found.reason
    return found.status


TINY = {
    "llama": lambda: (tiny.llama(), tiny.tokenizer()),
    "llama-bos": lambda: (tiny.llama(), tiny.tokenizer(bos=True)),
    "gpt2-learned-positions": lambda: (tiny.gpt2(), tiny.tokenizer()),
    "gemma2-softcap": lambda: (tiny.gemma2(), tiny.tokenizer(bos=True)),
    "cohere-logit-scale": lambda: (tiny.cohere(), tiny.tokenizer(bos=True)),
}


@pytest.mark.parametrize("kind", TINY)
def test_losses_are_the_published_procedures(kind, tmp_path):
    """One padded batch of pairs gives what each gives alone, with full logits, in transformers' own words."""
    student, model, tokens = loaded(tiny.save(tmp_path, *TINY[kind]()))
    spans = [Span(context, target) for context, target in PAIRS]
    ours = means(student.score(encoded(student, *spans)))
    theirs = [mean_loss(model, tokens, context, target, 64) for context, target in PAIRS]
    assert ours == pytest.approx(theirs, rel=2e-5)
    assert student.path == "packed rows, attention by run; head on targets"


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("max_tokens", [None, 20, 24, 200])
def test_the_direct_pass_leaves_room_for_the_prompt(bos, max_tokens, tmp_path):
    """The alone text is cut to the limit less the prompt plus one; the model's own window holds as well."""
    student, model, tokens = loaded(tiny.save(tmp_path, tiny.llama(40), tiny.tokenizer(bos=bos)))
    prompt, limit = "12 times 7? ", min(max_tokens or 40, 40)
    (span,) = encoded(student, Span("", RAINBOW, paired_context=prompt, max_tokens=max_tokens))
    assert means(student.score([span])) == pytest.approx(
        [mean_loss(model, tokens, "", RAINBOW, limit, paired_context=prompt)], rel=2e-5
    )
    assert len(span.ids) == limit - len(tokens.encode(prompt)) + 1


def test_an_end_token_that_the_tokenizer_appends_is_left_out(tmp_path):
    """A text that goes on has no end: with BOS and EOS only the BOS is there, once."""
    student = HFStudent(HFSettings(tiny.save(tmp_path, tiny.llama(), tiny.tokenizer(bos=True, eos=True))))
    text, ids = encoded(student, Span("Name ", "it."), Span("Name ", "it.", join="ids"))
    for span in (text, ids):
        assert span.ids[0] == 0
        assert span.ids.count(0) == 1
        assert 1 not in span.ids


def test_a_rendered_chat_has_one_leading_token(tmp_path):
    """The template writes the BOS itself: neither way to join puts a second one before it."""
    tokens = tiny.tokenizer(bos=True, chat=tiny.CHAT)
    student = HFStudent(HFSettings(tiny.save(tmp_path, tiny.llama(), tokens)))
    text, ids = encoded(student, Span(ASK, RAINBOW, max_tokens=60), Span(ASK, RAINBOW, join="ids", max_tokens=60))
    assert text.ids[0] == ids.ids[0] == 0
    assert text.ids.count(0) == ids.ids.count(0) == 1
    rendered = tokens.apply_chat_template(
        [{"role": "user", "content": ASK[0].content}], add_generation_prompt=True, tokenize=False
    )
    assert ids.ids[: ids.start] == tuple(tokens(rendered, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("max_tokens", [None, 14, 30])
@pytest.mark.parametrize(("one", "other"), [("", ASK), ("", "Name the colours.\n"), ((Turn("user", ""),), ASK)])
def test_both_passes_score_the_same_tokens(one, other, max_tokens, bos, tmp_path):
    """With joined ids no target token has a prediction in one pass only, with or without a BOS."""
    tokens = tiny.tokenizer(bos=bos, chat=tiny.CHAT.replace("assistant", "a").replace("m['role']", "'u'"))
    student = HFStudent(HFSettings(tiny.save(tmp_path, tiny.llama(96), tokens)))
    there, back = (
        Span(one, RAINBOW, "ids", other, max_tokens and max_tokens + 30),
        Span(other, RAINBOW, "ids", one, max_tokens and max_tokens + 30),
    )
    first, second = encoded(student, there, back)
    assert first.ids[first.start :] == second.ids[second.start :]
    assert max(len(first.ids), len(second.ids)) <= (max_tokens or 66) + 30
    target = tuple(tokens(RAINBOW, add_special_tokens=False)["input_ids"])
    assert first.ids[first.start :] == target[1 if one == "" and not bos else 0 :][: len(first.ids) - first.start]


def test_scores_do_not_depend_on_batch_mates_or_order(tmp_path):
    """Other orders, splits and padding give the same losses but for float noise."""
    student, _, _ = loaded(tiny.save(tmp_path, tiny.gpt2(), tiny.tokenizer()))
    spans = encoded(student, *(Span(context, target) for context, target in PAIRS))
    alone = {span: student.score([span])[0] for span in spans}
    for order in list(itertools.permutations(spans))[::4]:
        together = student.score(order)
        halves = [*student.score(order[:2]), *student.score(order[2:])]
        for span, loss, other in zip(order, together, halves, strict=True):
            assert loss.nll == pytest.approx(alone[span].nll, rel=2e-6)
            assert other.nll == pytest.approx(alone[span].nll, rel=2e-6)
            assert loss.tokens == alone[span].tokens


def test_an_unknown_head_falls_back_to_full_logits():
    """A model that does more behind its head than we know is scored by its own forward."""

    class Odd(LlamaForCausalLM):
        def forward(self, *args, **options):
            output = super().forward(*args, **options)
            output.logits = output.logits * torch.linspace(0, 5, 320)
            return output

    odd = Odd(tiny.llama().config).eval()
    way = choose(odd, None)
    assert way.path.startswith("packed rows, attention by run; full logits: without its head the model gives")
    spans = [EncodedSpan((5, 6, 7, 8, 9, 10), 2), EncodedSpan((9, 40, 41), 1)]
    for span, ours in zip(spans, way.losses.sums(spans), strict=True):
        logits = odd(torch.tensor([span.ids])).logits[0, span.start - 1 : -1]
        theirs = cross_entropy(logits, torch.tensor(span.ids[span.start :]), reduction="sum")
        assert ours == pytest.approx(theirs.item(), rel=1e-5)


def test_spans_without_a_loss_say_why(tmp_path):
    """Each way in which a span has no loss has its own status and a reason, never a number."""
    student = HFStudent(HFSettings(tiny.save(tmp_path, tiny.llama(), tiny.tokenizer())))
    long = "colours " * 80
    assert status(student, Span("Say:", "")) == "empty"
    assert status(student, Span("Say:", " \n")) == "empty"
    assert status(student, Span(long, "yes")) == "no_room"
    assert status(student, Span(long, "yes", join="ids")) == "no_room"
    assert status(student, Span("Say:", "yes", max_tokens=2)) == "no_room"
    assert status(student, Span("", "yes please", paired_context=long)) == "no_room"
    assert status(student, Span("Say:", "yes please", join="ids", paired_context=long)) == "no_room"
    assert status(student, Span("", "a")) == "too_short"
    assert status(student, Span("Say:", "a", join="ids", paired_context="")) == "too_short"
    assert status(student, Span(ASK, RAINBOW)) == "no_template"
    assert status(student, Span("", RAINBOW, join="ids", paired_context=ASK)) == "no_template"
    assert status(student, Span("Say:", "lone \ud800 surrogate")) == "bad_text"


def test_a_bad_span_leaves_its_neighbours_alone(tmp_path):
    """Results come in order, whatever is between them."""
    student = HFStudent(HFSettings(tiny.save(tmp_path, tiny.llama(), tiny.tokenizer())))
    good = Span("Say:", "yes please")
    found = student.encode([Span("Say:", ""), good, Span(ASK, "x"), good])
    assert [getattr(one, "status", "ok") for one in found] == ["empty", "ok", "no_template", "ok"]
    assert found[1] == found[3]


def test_a_template_that_refuses_is_a_status(tmp_path):
    """A chat template may raise, for instance on a system message."""
    tokens = tiny.tokenizer(chat="{{ raise_exception('no system role here') }}")
    student = HFStudent(HFSettings(tiny.save(tmp_path, tiny.llama(), tokens)))
    assert status(student, Span(ASK, RAINBOW)) == "template_error"


def test_a_template_with_a_date_renders_the_same_every_day(tmp_path):
    """A score must not depend on the day on which it is computed."""
    tokens = tiny.tokenizer(chat="{{ strftime_now('%d %b %Y') }}")
    assert render(tokens, ASK) == "26 Jul 2024"


def test_counted_spans_need_no_forward_pass(tmp_path):
    """A length is the number of target tokens, the first one included; nothing is computed."""
    tokens = tiny.tokenizer()
    student = HFStudent(HFSettings(tiny.save(tmp_path, tiny.llama(), tokens)))
    (span,) = encoded(student, Span("", RAINBOW, join="ids", count_only=True))
    count = len(tokens.encode(RAINBOW))
    assert student.score([span]) == [SpanLoss(None, count)]
    scored, *_ = encoded(student, Span("Say:", "yes"))
    assert [loss.nll is None for loss in student.score([span, scored, span])] == [True, False, True]


def test_a_loss_that_is_not_finite_is_a_status(tmp_path):
    """A broken weight gives a status for every span, not a NaN."""
    broken = tiny.llama()
    with torch.no_grad():
        broken.model.norm.weight[0] = torch.nan
    student = HFStudent(HFSettings(tiny.save(tmp_path, broken, tiny.tokenizer()), device="cpu"))
    (loss,) = student.score(encoded(student, Span("Say:", "yes please")))
    assert (loss.nll, loss.status) == (None, "nonfinite")
    assert loss.tokens > 0


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_running_out_of_memory_has_its_own_exception(error, tmp_path, monkeypatch):
    """Core halves a batch on OutOfMemory; another error of torch stays what it is."""
    student, _, _ = loaded(tiny.save(tmp_path, tiny.llama(), tiny.tokenizer()))
    spans = encoded(student, Span("Say:", "yes please"))

    def fail(self, batch):
        raise error

    assert student.packs
    monkeypatch.setattr(forward.TargetLosses, "_packed", fail)
    with pytest.raises(OutOfMemory):
        student.score(spans)
    error = RuntimeError("shape mismatch")
    with pytest.raises(RuntimeError, match="shape mismatch"):
        student.score(spans)


# --- the real model ---------------------------------------------------------------------------


@pytest.mark.model
def test_the_real_model_agrees_with_the_plain_baseline(smol, smollm2_saved):
    """SmolLM2 from a GGUF file: losses in a batch equal the plain procedure's, one at a time."""
    tokens = AutoTokenizer.from_pretrained(smollm2_saved)  # as that of the GGUF file, which takes seconds to read
    spans = encoded(smol, *(Span(context, target) for context, target in PAIRS))
    theirs = [mean_loss(smol._way.losses._model, tokens, context, target, 2048) for context, target in PAIRS]
    assert means(smol.score(spans)) == pytest.approx(theirs, rel=2e-5)
    assert smol.path.startswith("packed rows, attention by run; head on targets")


@pytest.mark.model
def test_the_real_chat_template_shares_targets(smol):
    """SmolLM2 has no BOS; the chat's two passes still score the same tokens."""
    header = (Turn("user", ""),)
    given, alone = encoded(smol, Span(ASK, RAINBOW, "ids", header), Span(header, RAINBOW, "ids", ASK))
    assert given.ids[given.start :] == alone.ids[alone.start :]
    hard, easy = means(smol.score([alone, given]))
    assert easy < hard
