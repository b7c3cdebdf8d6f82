"""Reasoning and calls of tools before the student: what chat templates make of them, and which part of it counts."""

from __future__ import annotations

import pickle

import pytest
from attrs import evolve

from rt_framework.builtin.templates.chat import Chat
from rt_framework.data.conversations import trained_by
from rt_framework.kit.encoding import Encoder
from rt_framework.model import Pair, ToolCall, Turn
from rt_framework.scoring.forward import encoded as encode_by
from rt_framework.scoring.presets import preset
from rt_framework.scoring.spans_of import PresetSpans
from rt_framework.spans import EncodedSpan, Span, SpanLoss
from rt_framework.testing import FakeStudent
from tests import chat_templates, tiny_models

TOOL = '{"type": "function", "function": {"name": "weather", "parameters": {}}}'
CALL = ToolCall("weather", '{"city": "Oslo"}', "c1")
CALLED = '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>'

CONVERSATION = Pair(
    "Thanks. And tomorrow?",
    response="I cannot know.",
    system="Be kind.",
    history=(
        Turn("user", "How is the weather in Oslo?"),
        Turn("assistant", "", "I have to look.", (CALL,)),
        Turn("tool", "rain", tool_call_id="c1"),
        Turn("assistant", "It rains in Oslo.", "The tool says rain."),
    ),
    tools=(TOOL,),
)
THINKING = Pair("Name a river.", response="The Rhine.", reasoning="One in Europe.")
CALLING = Pair(
    "How is the weather in Oslo?", response="", reasoning="I have to look.", tool_calls=(CALL,), tools=(TOOL,)
)

FRAME = PresetSpans(preset("chat"), Chat(), None)


def scored(template: str, *spans: Span) -> list[str]:
    """The text that is scored of each span, or the status where there is none."""
    tokenizer = tiny_models.tokenizer(chat=getattr(chat_templates, template))
    encoded = Encoder.of(tokenizer, 4096).encode(spans)
    return [
        one.status
        if isinstance(one, SpanLoss)
        else "".join(tokenizer.decode(one.ids[a:b]) for a, b in one.ranges).strip()
        for one in encoded
    ]


def encoded(template: str, span: Span) -> EncodedSpan:
    """The encoding of a span."""
    tokenizer = tiny_models.tokenizer(chat=getattr(chat_templates, template))
    (one,) = Encoder.of(tokenizer, 4096).encode([span])
    assert isinstance(one, EncodedSpan), one
    return one


@pytest.mark.parametrize("template", ["REASONING", "TOOLS"])
@pytest.mark.parametrize(
    "pair", [THINKING, evolve(THINKING, reasoning=None, response="<think>One in Europe.</think>The Rhine.")]
)
def test_the_answer_counts_and_its_reasoning_is_read(template, pair):
    """In both passes the same tokens are scored; the whole turn or its reasoning alone can be asked for."""
    given, alone = *FRAME.response_given_instruction(pair), *FRAME.response_alone(pair)
    assert scored(template, given, alone) == ["The Rhine."] * 2
    assert scored(template, evolve(given, part="reasoning")) == ["One in Europe."]
    (whole,) = scored(template, evolve(given, part="whole"))
    assert whole.startswith("<think>") and "One in Europe." in whole and whole.endswith("The Rhine.")
    first, second = encoded(template, given), encoded(template, alone)
    assert first.ids[first.ranges[0][0] :] == second.ids[second.ranges[0][0] :]


def test_a_call_of_a_tool_counts_as_the_template_writes_it():
    """A turn that calls is never empty; the reasoning before it is read."""
    for spans in (FRAME.response_given_instruction(CALLING), FRAME.response_alone(CALLING)):
        assert scored("TOOLS", *spans) == [CALLED]
    assert scored("TOOLS", *FRAME.instruction_given_response(CALLING)) == [CALLING.instruction]
    context = FRAME.instruction_given_response(CALLING)[0].context
    assert "weather" in context.turns[-1].content


def test_a_template_that_does_not_show_calls_has_no_score_for_them():
    """A model that never sees calls cannot learn them, and the status says so."""
    assert scored("REASONING", *FRAME.response_given_instruction(CALLING)) == ["template_error"]
    assert scored("PLAIN", *FRAME.response_given_instruction(CALLING)) == ["template_error"]


def test_every_trained_turn_is_scored_after_what_the_template_shows_before_it():
    """Tools stand in the prompt of each turn, and so do their results."""
    spans = FRAME.response_given_instruction(trained_by(CONVERSATION, "all"))
    assert scored("TOOLS", *spans) == [CALLED, "It rains in Oslo.", "I cannot know."]
    tokenizer = tiny_models.tokenizer(chat=chat_templates.TOOLS)
    last = encoded("TOOLS", spans[-1])
    context = tokenizer.decode(last.ids[: last.start])
    assert (
        context.index("Be kind.") < context.index('"weather"') < context.index(CALLED) < context.index("<result>rain")
    )


def test_a_template_that_drops_earlier_reasoning_is_recognised():
    """Training on all turns would see another text than the one that was scored; the last turn alone is right."""
    pair = evolve(CONVERSATION, history=(CONVERSATION.history[0], *CONVERSATION.history[3:]), tools=())
    spans = FRAME.response_given_instruction(trained_by(pair, "all"))
    assert scored("REASONING", *spans) == ["rendered_otherwise", "I cannot know."]
    assert scored("TOOLS", *spans) == ["It rains in Oslo.", "I cannot know."]
    tokenizer = tiny_models.tokenizer(chat=chat_templates.REASONING)
    (refused,) = Encoder.of(tokenizer, 4096).encode(spans[:1])
    assert "train the last turn of each conversation alone, or make a sample of each turn" in refused.reason
    assert scored("REASONING", *FRAME.response_given_instruction(pair)) == ["I cannot know."]


def test_plain_turns_are_the_same_texts_as_ever():
    """Without reasoning and calls a target is the response itself, and tools are no part of a context without tools."""
    (span,) = FRAME.response_given_instruction(Pair("Name a river.", response="The Rhine."))
    assert span == Span((Turn("user", "Name a river."),), "The Rhine.", "ids", (Turn("user", ""),), None)


@pytest.mark.parametrize("part", ["answer", "reasoning"])
def test_a_part_of_a_text_is_refused(part):
    """A text has ranges; only a turn has parts by name."""
    with pytest.raises(ValueError, match="a text has no part"):
        Span("", "x", part=part)
    with pytest.raises(ValueError, match="a turn is a target after messages only"):
        Span("", Turn("assistant", "x"), part=part)


def test_what_a_template_writes_before_an_answer_is_read_as_in_training():
    """Some templates begin the last answer with an empty thought; the answer after it counts, in both passes."""
    pair = Pair("Name a river.", response="The Rhine.")
    (given,), (alone,) = FRAME.response_given_instruction(pair), FRAME.response_alone(pair)
    assert scored("REASONING", given, alone) == ["The Rhine."] * 2
    tokenizer = tiny_models.tokenizer(chat=chat_templates.REASONING)
    for span in (given, alone):
        one = encoded("REASONING", span)
        before = tokenizer.decode(one.ids[: one.start]).rstrip()
        assert before.endswith("<|im_start|>assistant\n<think>\n\n</think>")
    (earlier, _) = FRAME.response_given_instruction(trained_by(CONVERSATION_OF_TWO, "all"))
    assert scored("REASONING", earlier) == ["Blue."]


CONVERSATION_OF_TWO = Pair("Another.", response="Red.", history=(Turn("user", "Name one."), Turn("assistant", "Blue.")))


class Plain:
    """A student that knows texts alone, and fails on anything else."""

    fingerprint = "plain"

    def encode(self, spans):
        """One token a letter."""
        contexts = ["".join(turn.content for turn in span.context) for span in spans]
        texts = [(context, span.target) for context, span in zip(contexts, spans, strict=True)]
        return [EncodedSpan(tuple(map(ord, f"?{before}{text}")), len(before) + 1) for before, text in texts]


def test_a_student_that_shows_no_turns_is_given_none():
    """One odd row has a status, and all others their scores."""
    spans = [*FRAME.response_given_instruction(CONVERSATION_OF_TWO), *FRAME.response_given_instruction(CALLING)]
    plain, typed = encode_by(spans, Plain())
    assert isinstance(plain, EncodedSpan)
    assert (typed.status, typed.nll) == ("no_turns", None)
    assert encode_by(spans[1:], Plain())[0].status == "no_turns"


def test_what_renders_turns_goes_to_other_processes():
    """A student may hold one, and is sent there; the other process renders the same."""
    texts = FakeStudent()._turns
    span = FRAME.response_given_instruction(CALLING)[0]
    before = texts.as_text(span)
    assert pickle.loads(pickle.dumps(texts)).as_text(span) == before


@pytest.mark.parametrize("template", ["REASONING", "TOOLS"])
@pytest.mark.parametrize("apart", [True, False])
def test_an_answer_that_stands_in_its_reasoning_is_found(template, apart):
    """Short answers often do: the answer is what follows the reasoning, and not its first occurrence."""
    reasoning = "6 times 7 is 42, so 42."
    within = f"<think>{reasoning}</think>\n\n42"
    pair = Pair("6 times 7?", response="42" if apart else within, reasoning=reasoning if apart else None)
    (given,), (alone,) = FRAME.response_given_instruction(pair), FRAME.response_alone(pair)
    assert scored(template, given, alone) == ["42", "42"]
    assert scored(template, evolve(given, part="reasoning")) == [reasoning]


def test_a_question_with_a_thought_in_it_is_scored_whole():
    """The target of r-IFD is a text, whatever tags a user writes into it."""
    pair = Pair("What does <think>x</think> mean?", response="A thought.")
    assert scored("REASONING", *FRAME.instruction_given_response(pair)) == [pair.question]
