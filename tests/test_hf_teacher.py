"""The local teacher: each answer follows from its own request, keeps to its schema and its length."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
import torch
from attrs import evolve
from transformers import GenerationConfig

from rt_framework import Request, Sampling, TeacherError, Turn
from rt_framework.builtin import decoding
from rt_framework.builtin.teachers.hf import HFTeacher
from rt_framework.builtin.teachers.hf_settings import HFTeacherSettings
from rt_framework.errors import ConfigError
from rt_framework.protocols import LocalTeacher
from tests import tiny_models as tiny

SCHEMA = {
    "type": "object",
    "properties": {"mood": {"enum": ["glad", "sad"]}, "sure": {"type": "boolean"}},
    "required": ["mood", "sure"],
}
WORDS = ("Name the colours.", "Write a short poem about a river, please.", "What is 12 times 7?")


def request(text: str, schema: dict[str, Any] | None = None, **sampling: Any) -> Request:
    drawn = {"max_tokens": 12, **sampling}
    return Request("test", "0", 0, (Turn("user", text),), Sampling(**drawn), schema)


@pytest.fixture
def teacher(tmp_path, monkeypatch) -> HFTeacher:
    """A random Llama whose logits are wider than its tokenizer, with a window of 64."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = tiny.llama()
    model.resize_token_embeddings(391)
    # What a checkpoint suggests must not join in.
    model.generation_config = GenerationConfig(eos_token_id=[1], repetition_penalty=9.0)
    folder = tiny.save(tmp_path / "model", model, tiny.tokenizer(bos=True, chat=tiny.CHAT))
    return HFTeacher(HFTeacherSettings(folder, device="cpu"))


def test_it_is_a_batch_teacher(teacher):
    """Core recognises it; the identity is the content's and needs no model."""
    assert isinstance(teacher, LocalTeacher)
    assert teacher.structured
    assert teacher.batch_size == 8
    assert teacher.identity == HFTeacher(teacher._settings).identity
    assert "_generation" not in vars(teacher)


def test_an_answer_does_not_depend_on_batch_mates(teacher):
    """Greedy, drawn and held to a schema in one batch: each as it is alone, in the order asked."""
    requests = [
        request(WORDS[0]),
        request(WORDS[1], temperature=1.0),
        request(WORDS[2], SCHEMA, max_tokens=30),
        request(WORDS[1], temperature=0.7, top_p=0.8, seed=3, max_tokens=5),
    ]
    alone = [teacher.complete_many([one])[0] for one in requests]
    assert teacher.complete_many(requests) == alone
    assert teacher.complete_many(requests[::-1]) == alone[::-1]


def test_greedy_answers_are_the_models_own(teacher):
    """Temperature 0 takes the most likely token at every step, whatever the checkpoint's defaults say."""
    (reply,) = teacher.complete_many([request(WORDS[0])])
    tokens, model = teacher._generation._tokenizer, teacher._generation._model
    prompt = f"<s><user>{WORDS[0]}\n<assistant>"
    ids = tokens(prompt, add_special_tokens=False)["input_ids"]
    start = len(ids)
    with torch.no_grad():
        for _ in range(12):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert reply.text == tokens.decode(ids[start:], skip_special_tokens=True)
    assert reply.usage.prompt_tokens == start


def test_a_seed_changes_the_draw_and_repeats_it(teacher):
    """Equal requests repeat, other seeds and indices differ; the global random state is left alone."""
    before = torch.random.get_rng_state()
    hot = request(WORDS[0], temperature=1.5, max_tokens=20)
    one, again, other, later = teacher.complete_many(
        [hot, hot, evolve(hot, sampling=evolve(hot.sampling, seed=1)), evolve(hot, index=1)]
    )
    assert one == again
    assert len({one.text, other.text, later.text}) == 3
    assert torch.equal(before, torch.random.get_rng_state())


def test_draws_have_the_probabilities_of_the_softmax():
    """The Gumbel trick draws from softmax(logits / T) within top-p: 4,000 draws of three tokens."""
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    generator = torch.Generator().manual_seed(0)
    sampling = Sampling(temperature=2.0, top_p=0.8)
    drawn = Counter(int(decoding._perturbed(logits, sampling, generator).argmax()) for _ in range(4000))
    kept = torch.tensor([1.0, 0.5, 0.0]).softmax(-1)
    assert drawn[3] == 0
    for token in range(3):
        assert drawn[token] / 4000 == pytest.approx(kept[token].item(), abs=0.03)


def test_each_row_has_its_own_length(teacher):
    """An answer cut off says so and has as many tokens as were allowed, also beside longer ones."""
    replies = teacher.complete_many([request(WORDS[0], max_tokens=n) for n in (1, 9, 4)])
    assert [reply.usage.completion_tokens for reply in replies] == [1, 9, 4]
    assert {reply.finish_reason for reply in replies} == {"length"}


def test_a_schema_is_held(teacher):
    """A random model answers with valid compact JSON, ends, and adds no property; a short row beside it is cut."""
    whole, cut = teacher.complete_many(
        [request(WORDS[0], SCHEMA, temperature=1.0, max_tokens=40), request(WORDS[1], SCHEMA, max_tokens=3)]
    )
    answer = json.loads(whole.text)
    assert set(answer) == {"mood", "sure"}
    assert answer["mood"] in ("glad", "sad")
    assert isinstance(answer["sure"], bool)
    assert whole.finish_reason == "stop"
    assert whole.text == json.dumps(answer, separators=(",", ":"))
    assert cut.finish_reason == "length"
    assert whole.usage.completion_tokens <= 40


def test_nested_objects_are_closed_too():
    """No property beyond those named, at any depth; what the schema says itself stays."""
    inner = {"type": "object", "properties": {"a": {"type": "string"}}}
    free = {**inner, "additionalProperties": True}
    closed = decoding._closed({"type": "object", "properties": {"one": inner, "many": {"items": inner}, "free": free}})
    assert closed["additionalProperties"] is False
    assert closed["properties"]["one"]["additionalProperties"] is False
    assert closed["properties"]["many"]["items"]["additionalProperties"] is False
    assert closed["properties"]["free"]["additionalProperties"] is True


def test_a_schema_that_is_no_schema_is_a_bad_request(teacher):
    """It is said before anything is generated."""
    with pytest.raises(TeacherError, match="schema of the answer cannot be enforced") as caught:
        teacher.complete_many([request(WORDS[0], {"type": "nonsense"})])
    assert caught.value.kind.name == "bad_request"


def test_a_prompt_that_fills_the_window_is_too_long(teacher):
    """Its batch mates are answered; one that nearly fills it gets what room there is."""
    long, fine, tight = teacher.complete_many(
        [request("colours " * 80), request(WORDS[0]), request("x" * 45, max_tokens=50)]
    )
    assert (long.text, long.finish_reason) == ("", "too_long")
    assert long.usage.completion_tokens == 0
    assert fine == teacher.complete_many([request(WORDS[0])])[0]
    assert tight.usage.prompt_tokens + tight.usage.completion_tokens == 64
    assert tight.finish_reason == "length"
    assert teacher.complete_many([request("colours " * 80)]) == [long]


def test_a_lone_surrogate_does_not_stop_a_batch(teacher):
    """Hostile text is answered like any other."""
    (reply,) = teacher.complete_many([request("half a pair: \ud83d")])
    assert reply.finish_reason == "length"


def test_without_a_chat_template_messages_are_joined(tmp_path):
    """A base model gets the contents, blank lines between, after its BOS."""
    folder = tiny.save(tmp_path, tiny.llama(), tiny.tokenizer(bos=True, eos=True))
    teacher = HFTeacher(HFTeacherSettings(folder, device="cpu"))
    asked = Request("test", "0", 0, (Turn("system", "Be brief."), Turn("user", "Why?")), Sampling(max_tokens=2))
    (reply,) = teacher.complete_many([asked])
    assert reply.usage.prompt_tokens == 1 + len(tiny.tokenizer().encode("Be brief.\n\nWhy?"))


def test_a_template_that_refuses_is_a_bad_request(tmp_path):
    """The cause is named."""
    tokens = tiny.tokenizer(chat="{{ raise_exception('no system role here') }}")
    teacher = HFTeacher(HFTeacherSettings(tiny.save(tmp_path, tiny.llama(), tokens), device="cpu"))
    with pytest.raises(TeacherError, match="no system role here"):
        teacher.complete_many([request(WORDS[0])])


def test_settings_are_checked():
    """Remote code needs a revision; a batch holds at least one request."""
    with pytest.raises(ConfigError, match="revision"):
        HFTeacherSettings("some/model", trust_remote_code=True)
    with pytest.raises(ConfigError, match="batch_size"):
        HFTeacherSettings("some/model", batch_size=0)


@pytest.mark.model
def test_the_real_model_answers_in_json(smollm2_saved):
    """SmolLM2 from a GGUF file: a schema over its tokenizer, a free answer beside it, both as when alone."""
    teacher = HFTeacher(HFTeacherSettings(smollm2_saved, device="cpu"))
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 40}},
        "required": ["capital"],
    }
    asked = [
        request("What is the capital of France? Answer in JSON.", schema, max_tokens=40),
        request("What is the capital of France?", max_tokens=24),
    ]
    held, free = teacher.complete_many(asked)
    assert "Paris" in json.loads(held.text)["capital"]
    assert held.finish_reason == "stop"
    assert "Paris" in free.text
    assert held.nano_dollars == 0
    assert teacher.complete_many(asked[:1]) == [held]
