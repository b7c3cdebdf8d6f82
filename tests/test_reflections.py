"""The built-in reflections: what teachers are asked, how strictly answers are read, what guards refuse."""

from __future__ import annotations

import json
import re
import time

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from rt_framework.builtin.reflections.guards import refuses
from rt_framework.builtin.reflections.instruction import InstructionReflection
from rt_framework.builtin.reflections.prompt_files import packaged_prompt
from rt_framework.builtin.reflections.response import ResponseReflection
from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.errors import KINDS
from rt_framework.kit import fences
from rt_framework.kit.fences import fenced, fenced_question, fenced_response, token_of
from rt_framework.kit.form import Answer
from rt_framework.model import Pair, Reply, ToolCall, Turn, Unparsed

PAIR = Pair("Name a gas.", "noble ones only", "Helium is a noble gas.")
NEW = {
    "critique": "Too short a question.",
    "instruction": "Explain why noble gases hardly react.",
    "response": "Their outer shells are full, so there is little to gain from a bond.",
}
REFLECTIONS = {"instruction": InstructionReflection, "response": ResponseReflection}
PARTS = {"instruction": ("critique", "instruction", "response"), "response": ("critique", "response")}
BOTH = pytest.mark.parametrize("structured", [True, False], ids=["json", "markers"])
EACH = pytest.mark.parametrize("name", ["instruction", "response"])


def written(pair, name, structured, values):
    """A well-formed answer with these values."""
    parts = {part: values[part] for part in PARTS[name]}
    if structured:
        return json.dumps(parts, ensure_ascii=False)
    token = token_of(pair)
    blocks = [f"[[{part} {token}]]\n{text}\n" for part, text in parts.items()]
    return "".join(blocks) + f"[[end {token}]]"


def parsed(pair, name, structured, text, finish_reason="stop"):
    """Return the reflection's result for a raw text."""
    reflection = REFLECTIONS[name](ReflectionSettings())
    request = reflection.render(pair, 0, structured)
    return reflection.parse(pair, request, Reply(text, finish_reason))


def answered(structured, name="response", pair=PAIR, **changes):
    """Return the reflection's result for a well-formed answer with some values changed."""
    return parsed(pair, name, structured, written(pair, name, structured, NEW | changes))


def kind(outcome):
    """The kind of failure; fails the test when the answer was accepted."""
    assert isinstance(outcome, Unparsed), outcome
    assert outcome.kind in KINDS
    assert outcome.reason
    return outcome.kind


# --- requests ---------------------------------------------------------------------------------


@BOTH
@EACH
def test_request_names_its_reflection_pair_and_index(name, structured):
    """Replay finds an answer by these three."""
    request = REFLECTIONS[name](ReflectionSettings()).render(PAIR, 2, structured)
    assert (request.reflection, request.pair_hash, request.index) == (name, PAIR.hash, 2)
    assert [turn.role for turn in request.messages] == ["system", "user"]


@BOTH
@EACH
def test_every_text_of_the_pair_is_shown_between_fences(name, structured):
    """System prompt, history, instruction, input and response all reach the teacher as data."""
    pair = evolve(PAIR, system="Be terse.", history=(Turn("user", "Hello."), Turn("assistant", "Hi there.")))
    user = REFLECTIONS[name](ReflectionSettings()).render(pair, 0, structured).messages[1].content
    shown = re.findall(rf"<<<(\w+) {token_of(pair)}>>>\n(.*?)\n<<<end {token_of(pair)}>>>", user, re.DOTALL)
    assert shown == [
        ("system", "Be terse."),
        ("user", "Hello."),
        ("assistant", "Hi there."),
        ("instruction", "Name a gas."),
        ("input", "noble ones only"),
        ("response", "Helium is a noble gas."),
    ]


@EACH
def test_what_tools_said_is_shown_before_the_response(name):
    """An answer can only be judged after the result that it is made of, and a call is shown as JSON."""
    call = ToolCall("weather", '{"city": "Oslo"}', "1")
    pair = evolve(PAIR, since=(Turn("assistant", "", tool_calls=(call,)), Turn("tool", "rain", tool_call_id="1")))
    user = REFLECTIONS[name](ReflectionSettings()).render(pair, 0, True).messages[1].content
    token = token_of(pair)
    shown = re.findall(rf"<<<(\w+) {token}>>>\n(.*?)\n<<<end {token}>>>", user, re.DOTALL)
    told = [("assistant", call.text), ("tool", "rain"), ("response", "Helium is a noble gas.")]
    assert shown[-3:] == told
    judged = [*fenced_question(pair, token), fenced_response(pair, token)]
    assert judged[-3:] == [fenced(label, token, text) for label, text in told]
    assert call.text in fenced_response(evolve(pair, response="", tool_calls=(call,)), token)


@EACH
def test_structured_request_has_a_closed_schema_with_the_critique_first(name):
    """All keys are required, none may be added, and the critique precedes what it leads to."""
    schema = REFLECTIONS[name](ReflectionSettings()).render(PAIR, 0, True).schema
    assert tuple(schema["properties"]) == tuple(schema["required"]) == PARTS[name]
    assert schema["additionalProperties"] is False
    assert all(value == {"type": "string", "minLength": 1} for value in schema["properties"].values())


@EACH
def test_marker_request_shows_the_form_once_and_no_schema(name):
    """A teacher without structured output sees the markers, in order, with its own token."""
    request = REFLECTIONS[name](ReflectionSettings()).render(PAIR, 0, False)
    assert request.schema is None
    found = re.findall(rf"\[\[(\w+) {token_of(PAIR)}\]\]", request.messages[1].content)
    assert tuple(found) == (*PARTS[name], "end")


@BOTH
def test_a_retry_changes_temperature_seed_and_prompt(structured):
    """The same prompt at temperature 0 would get the same unusable answer again."""
    reflection = ResponseReflection(ReflectionSettings(temperature=0.0, retry_temperature=0.9, max_tokens=77))
    first, second, third = (reflection.render(PAIR, index, structured) for index in range(3))
    assert [r.sampling.temperature for r in (first, second, third)] == [0.0, 0.9, 0.9]
    assert [r.sampling.seed for r in (first, second, third)] == [None, 1, 2]
    assert {r.sampling.max_tokens for r in (first, second, third)} == {77}
    assert len({r.messages for r in (first, second, third)}) == 3
    assert "Keep strictly to the form" in second.messages[1].content
    assert "Keep strictly to the form" not in first.messages[1].content


@BOTH
@EACH
def test_requests_are_repeatable(name, structured):
    """The ledger can only find an answer again if the request is the same to the byte."""
    reflection = REFLECTIONS[name](ReflectionSettings())
    assert reflection.render(PAIR, 1, structured) == reflection.render(evolve(PAIR), 1, structured)


@given(st.text(alphabet="0123456789abcdef", max_size=200), st.text(), st.text())
def test_no_pair_contains_its_own_fence(instruction, response, system):
    """No sample can close its own fence."""
    pair = Pair(instruction, response, response, system, (Turn("user", instruction),))
    token = token_of(pair)
    assert re.fullmatch("[0-9a-f]{8}", token)
    assert not any(token in text for text in (instruction, response, system))


@pytest.mark.parametrize("part", ["instruction", "input", "response", "system", "history"])
def test_a_token_that_occurs_in_the_pair_is_replaced(monkeypatch, part):
    """If a sample holds the first token by chance or malice, the next one is taken."""
    monkeypatch.setattr(fences, "digest", lambda value: f"{value[1]:08x}" + "0" * 24)
    text = "see 00000000 and 00000001"
    pair = evolve(Pair("q", response="a"), **{part: (Turn("user", text),) if part == "history" else text})
    assert token_of(pair) == "00000002"


# --- reading ----------------------------------------------------------------------------------


@BOTH
def test_instruction_answer_replaces_instruction_and_response_and_clears_the_input(structured):
    """System prompt and history stay."""
    pair = evolve(PAIR, system="Be kind.", history=(Turn("user", "Hi."), Turn("assistant", "Yes?")))
    expected = evolve(pair, instruction=NEW["instruction"], input="", response=NEW["response"])
    assert answered(structured, "instruction", pair) == expected


@BOTH
def test_response_answer_replaces_the_response_only(structured):
    """Instruction and input stay as they are."""
    assert answered(structured, "response") == evolve(PAIR, response=NEW["response"])


def visible(text):
    """Texts that a teacher may write: something to see in them, and no placeholder."""
    return any(char.isalnum() for char in text) and not text.strip().startswith("<")


TEXTS = st.text().filter(visible)


@given(critique=TEXTS, instruction=TEXTS, response=TEXTS, structured=st.booleans())
def test_well_formed_answers_round_trip(critique, instruction, response, structured):
    """Any text survives untouched but for the white space around it."""
    values = {"critique": critique, "instruction": instruction, "response": response}
    text = written(PAIR, "instruction", structured, values)
    answer = packaged_prompt("instruction").form.read(Reply(text), token_of(PAIR), structured)
    assert answer == Answer({name: value.strip() for name, value in values.items()}, {})


@given(data=st.data(), structured=st.booleans())
def test_no_cut_answer_is_taken_as_complete(data, structured):
    """Every proper beginning of an answer is refused, even if the provider says that it stopped by itself."""
    text = written(PAIR, "instruction", structured, NEW)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    assert kind(parsed(PAIR, "instruction", structured, cut)) in {"format", "empty"}


@settings(max_examples=300)
@given(text=st.text(), structured=st.booleans(), name=st.sampled_from(["instruction", "response"]))
def test_free_text_is_never_an_answer(text, structured, name):
    """Any text of a teacher is read or refused; none raises an error, and none is used in part."""
    assert kind(parsed(PAIR, name, structured, text)) in {"format", "empty"}


@BOTH
@pytest.mark.parametrize(
    "text",
    [
        "Endothermic reactions take up heat.",
        "The End of History is a book.",
        "Write [End] on its own line.\n[End]\nThen go on.",
        "A better answer names the new instruction and the critique.",
        '<p class="x">Hello <b>you</b></p>',
        "Use [[wiki links]] and <<< here-strings.",
        "Two braces: {} and a key \"response\": 'x'.",
        "None",
    ],
)
def test_words_that_look_like_markers_survive(structured, text):
    """The answer is not searched for words such as End, nor for placeholders inside a sentence."""
    assert answered(structured, response=text) == evolve(PAIR, response=text)


@BOTH
@pytest.mark.parametrize(
    ("finish_reason", "expected"),
    [("length", "truncated"), ("content_filter", "refused"), ("too_long", "too_long")],
)
def test_an_answer_that_ended_badly_is_not_read(structured, finish_reason, expected):
    """A completion cut by the token limit is not complete, however well-formed it looks."""
    text = written(PAIR, "response", structured, NEW)
    assert kind(parsed(PAIR, "response", structured, text, finish_reason)) == expected


@BOTH
@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\ufeff", "\x00"])
def test_an_empty_answer_is_named_so(structured, text):
    """White space and invisible characters are no answer."""
    assert kind(parsed(PAIR, "response", structured, text)) == "empty"


@BOTH
@pytest.mark.parametrize("part", ["critique", "instruction", "response"])
@pytest.mark.parametrize("value", ["", "  \n", "\u200b", "<new instruction>", "<the better answer>", "<response>"])
def test_blank_parts_and_placeholders_lose_the_whole_answer(structured, part, value):
    """Never half a pair."""
    assert kind(answered(structured, "instruction", **{part: value})) == "format"


@BOTH
@EACH
def test_the_words_of_the_form_are_no_answer(structured, name):
    """An echo of what each part is to hold is refused, with angle brackets or without."""
    for part, held in packaged_prompt(name).form.parts.items():
        for value in (held.meaning, f"<{held.meaning}>"):
            assert kind(answered(structured, name, **{part: value})) == "format"


GOOD_JSON = json.dumps({"critique": "c", "response": "A fine answer."})


@pytest.mark.parametrize(
    "text",
    [
        "Here you are: " + GOOD_JSON,
        GOOD_JSON + "\nI hope this helps.",
        f"```json\n{GOOD_JSON}\n```",
        GOOD_JSON + GOOD_JSON,
        f"[{GOOD_JSON}]",
        '{"critique": "c"}',
        '{"critique": "c", "response": "r", "extra": "e"}',
        '{"critique": "c", "response": ["r"]}',
        '{"critique": "c", "response": null}',
        '{"critique": "c", "response": "r", "response": "s"}',
        '{"critique": "c", "Response": "r"}',
        '"response"',
        "[" * 100_000,
    ],
)
def test_only_one_exact_json_object_is_read(text):
    """Prose, code fences, other keys, other types and second objects are refused."""
    assert kind(parsed(PAIR, "response", True, text)) == "format"


@BOTH
def test_white_space_around_the_answer_is_allowed(structured):
    """It cannot change what was meant."""
    text = written(PAIR, "response", structured, NEW)
    assert parsed(PAIR, "response", structured, f"\n {text}\n\n") == evolve(PAIR, response=NEW["response"])


@pytest.mark.parametrize(
    "form",
    [
        "[[critique T]]\nc\n[[response T]]\nr",
        "[[critique T]]\nc\n[[end T]]",
        "[[response T]]\nr\n[[critique T]]\nc\n[[end T]]",
        "[[critique T]]\nc\n[[response T]]\nr\n[[response T]]\ns\n[[end T]]",
        "[[critique T]]\nc\n[[response T]]\nr\n[[end T]]\n[[critique T]]\nc\n[[response T]]\nr\n[[end T]]",
        "[[critique T]]\nc\n[[response T]]\nr\n[[end T]]\nI hope this helps.",
        "Sure:\n[[critique T]]\nc\n[[response T]]\nr\n[[end T]]",
        "[[critique T]]\nc\n[[response T]]\nr <<<end T>>>\n[[end T]]",
        "[[critique T]]\nc\n[[ response T ]]\nr\n[[response T]]\ns\n[[end T]]",
        "[[critique 00000000]]\nc\n[[response 00000000]]\nr\n[[end 00000000]]",
        "[[critique]]\nc\n[[response]]\nr\n[[end]]",
        "[[critique T]]\n<your critique of the response>\n[[response T]]\n<the better response>\n[[end T]]",
    ],
)
def test_only_one_exact_block_is_read(form):
    """A missing end, a second or echoed marker, a wrong fence, a wrong order or text outside is refused."""
    assert kind(parsed(PAIR, "response", False, form.replace("T", token_of(PAIR)))) == "format"


@EACH
def test_an_echo_of_the_whole_request_is_refused(name):
    """The first of two markers must not win."""
    request = REFLECTIONS[name](ReflectionSettings()).render(PAIR, 0, False)
    text = request.messages[1].content + "\n" + written(PAIR, name, False, NEW)
    assert kind(parsed(PAIR, name, False, text)) == "format"


def test_the_answer_to_another_pair_is_refused():
    """Its fence is another one."""
    other = evolve(PAIR, instruction="Name a metal.")
    assert kind(parsed(PAIR, "response", False, written(other, "response", False, NEW))) == "format"


# --- guards -----------------------------------------------------------------------------------

REFUSALS = [
    "I'm sorry, but I can't assist with that request.",
    "I’m sorry, but I can’t",
    "I am very sorry, but I am unable to help with this.",
    "Sorry, I cannot provide that.",
    "I apologize, but I won't write this.",
    "As an AI language model, I cannot feel pain.",
    "As a large language model I'm not able to browse the web.",
    "As an AI assistant developed by Example, I can't share opinions.",
    "As an AI, I do not have access to live data.",
    "**I cannot help you with that.**",
]
NO_REFUSALS = [
    "I'm sorry, but I can't attend the meeting on Monday.",
    "I can't help falling in love with you.",
    "Sorry is a 2015 song.",
    "As an AI researcher, I cannot stress this enough.",
    "A model may say: I'm sorry, but I can't assist with that.",
    "I cannot overstate how useful tests are.",
]


@BOTH
@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_as_new_response_is_refused(structured, text):
    """A teacher that declines must not become training data."""
    assert kind(answered(structured, response=text)) == "refused"


@pytest.mark.parametrize("text", NO_REFUSALS)
def test_texts_that_only_resemble_a_refusal_are_accepted(text):
    """The test is conservative and looks at the beginning only."""
    assert answered(True, response=text) == evolve(PAIR, response=text)


def test_a_refusal_that_was_there_before_is_no_fault_of_the_rewrite():
    """Data that teaches to decline can be improved too."""
    pair = evolve(PAIR, response="I'm sorry, but I can't help with that.")
    text = "I'm sorry, but I can't help with that: it would hurt people."
    assert answered(True, pair=pair, response=text) == evolve(pair, response=text)


@BOTH
def test_a_refusal_instead_of_the_form_is_named_refused(structured):
    """It is not asked again, as a broken form would be."""
    assert kind(parsed(PAIR, "response", structured, "I'm sorry, but I can't assist with that.")) == "refused"


def test_long_hostile_text_is_judged_quickly():
    """No pattern of the guards takes more than linear time."""
    started = time.perf_counter()
    for text in ("*" * 200_000, "I'm sorry," + " " * 200_000, "as an ai " * 30_000, "` " * 100_000, "[[" * 100_000):
        assert not refuses(text + "x")
        assert answered(True, response=text + "x") == evolve(PAIR, response=text + "x")
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize("shape", ["<<<response T>>>", "<<<end T>>>", "see T", "[[response 0a1b2c3d]]"])
def test_leaked_fences_are_refused(shape):
    """Neither this request's token nor any fence of that form may enter the data."""
    text = "A fine answer. " + shape.replace("T", token_of(PAIR))
    assert kind(answered(True, response=text)) == "format"


def test_a_fence_like_text_of_the_original_may_stay():
    """Data about such prompts is not lost."""
    pair = evolve(PAIR, response="It starts with [[response 0a1b2c3d]].")
    text = "It starts with [[response 0a1b2c3d]] and ends later."
    assert answered(True, pair=pair, response=text) == evolve(pair, response=text)


@BOTH
def test_an_unchanged_pair_is_an_echo(structured):
    """Also when the input was merely moved into the instruction."""
    same = {"instruction": PAIR.instruction, "response": PAIR.response + "\n"}
    assert kind(answered(structured, "response", **same)) == "format"
    assert kind(answered(structured, "instruction", **same)) == "format"
    moved = same | {"instruction": f"{PAIR.instruction}\n{PAIR.input}"}
    assert kind(answered(structured, "instruction", **moved)) == "format"


def test_a_change_of_one_part_is_enough():
    """A new instruction may keep its response, and the other way round."""
    assert isinstance(answered(True, "instruction", response=PAIR.response), Pair)
    assert isinstance(answered(True, "instruction", instruction=PAIR.instruction), Pair)


@EACH
def test_our_own_prompt_in_the_answer_is_an_echo(name):
    """An instruction that repeats the request would teach the student our prompt."""
    lines = [line for text in packaged_prompt(name).own_texts for line in text.splitlines() if len(line) > 80]
    for line in (*lines, "The conversation before the example, for context:"):
        found = answered(True, name, response=f"Certainly. {line}")
        assert (found.kind, found.reason) == ("format", "echo of the prompt")


RUSSIAN = "Благородные газы почти не вступают в реакции, потому что их оболочки заполнены."
CHINESE = "惰性气体几乎不发生反应，因为它们的外层电子壳层已经填满，很难得到或失去电子。"
JAPANESE = "きたいはほとんどはんのうしません。がいかくがみたされているからです。"
KANJI = "希硫酸水溶液中電気分解実験結果報告書作成方法説明及注意事項一覧表"


@BOTH
@pytest.mark.parametrize("text", [RUSSIAN, CHINESE])
def test_language_drift_is_refused(structured, text):
    """An English example must not come back in another script."""
    found = answered(structured, response=text)
    assert kind(found) == "format"
    assert "language drift" in found.reason


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (evolve(PAIR, response=RUSSIAN), RUSSIAN + " Это так."),
        (Pair("Say hi.", response="Hi."), RUSSIAN),
        (PAIR, "Да."),
        (Pair(JAPANESE, response=JAPANESE), KANJI),
        (PAIR, NEW["response"].translate({ord("a") + i: 0xFF41 + i for i in range(26)})),
        (PAIR, "12345 67890 +-*/ 2**64 = 18446744073709551616"),
    ],
    ids=["translation", "short-old", "short-new", "kana-to-kanji", "full-width", "no-letters"],
)
def test_no_drift_where_it_cannot_be_told(old, new):
    """Translations, short texts, scripts of one language and numbers pass."""
    assert answered(True, pair=old, response=new) == evolve(old, response=new)


def test_a_response_that_ends_inside_a_code_block_is_cut_off():
    """Some teachers report a normal stop for it."""
    code = "Run this:\n```python\nprint(1)\n"
    assert kind(answered(True, response=code + "pri")) == "truncated"
    assert isinstance(answered(True, response=code + "```\nDone."), Pair)
    assert isinstance(answered(True, response="````md\n```\n````\nDone, with ```inline``` code."), Pair)
    assert isinstance(answered(True, pair=evolve(PAIR, response="```\nx"), response=code + "pri"), Pair)
