"""From pairs to spans: exact texts, cuts and limits of every preset with every template."""

from __future__ import annotations

import pytest
from attrs import evolve

from rt_framework import turns
from rt_framework.config.builder import Builder
from rt_framework.config.pipelines import pipeline
from rt_framework.config.schema import ScoringConfig
from rt_framework.data.conversations import trained_by
from rt_framework.errors import ConfigError, Unscorable
from rt_framework.kit.parts import Spec
from rt_framework.model import Pair, Turn
from rt_framework.plugin.host import Host
from rt_framework.scoring import ScoringRules
from rt_framework.scoring.spans_of import PresetSpans
from rt_framework.spans import Span

WITHOUT = Pair("Name a colour.", "", "Blue.")
WITH = Pair("Name a colour.", "One word.", "Blue.")
ALPACA = "Below is an instruction that describes a task"
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
)
GUESS = (
    "Below is the response to an instruction, please guess the corresponding instruction for the given response.\n"
    "Blue.\nGenerate the instruction for the above response."
)


def alpaca(instruction: str, more: str = "") -> str:
    if more:
        return (
            f"{ALPACA}, paired with an input that provides further context. Write a response that appropriately "
            f"completes the request.\n\n### Instruction:\n{instruction}\n\n### Input:\n{more}\n\n### Response:"
        )
    return (
        f"{ALPACA}. Write a response that appropriately completes the request.\n\n"
        f"### Instruction:\n{instruction}\n\n### Response:"
    )


def vicuna(instruction: str, more: str = "") -> str:
    return f"{VICUNA}USER: {instruction}" + (f"\nInput:\n{more}" if more else "") + " ASSISTANT:"


def wizardlm(instruction: str, more: str = "") -> str:
    return instruction + (f"\n{more}" if more else "") + "\n\n### Response:"


def none(instruction: str, more: str = "") -> str:
    return f"{instruction}\n{more}\n" if more else f"{instruction}\n"


PROMPTS = {"alpaca": alpaca, "vicuna": vicuna, "wizardlm": wizardlm, "none": none}
HEADERS = {"alpaca": "### Response:", "vicuna": "ASSISTANT:", "wizardlm": "### Response:", "none": ""}


def frame(preset: str, template: str | None = None, max_tokens: int | None = None) -> PresetSpans:
    framing = ScoringRules.of(ScoringConfig(preset, Spec(template) if template else None, max_tokens))
    return PresetSpans(framing.preset, Builder(Host()).spec("templates", framing.template), framing.max_tokens)


def spans(made: PresetSpans, pair: Pair) -> dict[str, Span]:
    """The four spans of a single-turn pair."""
    found = {
        "y|x": made.response_given_instruction(pair),
        "y": made.response_alone(pair),
        "x|y": made.instruction_given_response(pair),
        "x": made.instruction_alone(pair),
    }
    assert all(len(turns) == 1 for turns in found.values())
    return {name: turns[0] for name, turns in found.items()}


@pytest.mark.parametrize("pair", [WITHOUT, WITH])
@pytest.mark.parametrize("template", PROMPTS)
@pytest.mark.parametrize(("preset", "limit"), [("selective-rt", 2048), ("superfiltering", 1024)])
def test_bare_presets(preset, limit, template, pair):
    """Both alone texts are bare, and cut so that their prompt would still fit."""
    prompt = PROMPTS[template](pair.instruction, pair.input)
    reverse = PROMPTS[template](GUESS)
    question = pair.instruction + pair.input
    assert spans(frame(preset, template), pair) == {
        "y|x": Span(prompt, "Blue.", "text", None, limit),
        "y": Span("", "Blue.", "text", prompt, limit),
        "x|y": Span(reverse, question, "text", None, limit),
        "x": Span("", question, "text", reverse, limit),
    }


@pytest.mark.parametrize("pair", [WITHOUT, WITH])
@pytest.mark.parametrize(("template", "limit"), [("alpaca", 512), ("vicuna", 512), ("wizardlm", 1024), ("none", 512)])
def test_cherry_puts_its_header_before_the_response(template, limit, pair):
    """The response stands after its header, both texts are cut at one length, and nothing is kept free."""
    prompt, header = PROMPTS[template](pair.instruction, pair.input), HEADERS[template]
    found = spans(frame("cherry", template), pair)
    assert found["y|x"] == Span(prompt, "Blue.", "text", None, limit)
    assert found["y"] == Span(header, "Blue.", "text", None, limit)


@pytest.mark.parametrize(
    ("preset", "template"),
    [("selective-rt", "vicuna"), ("superfiltering", "none"), ("cherry", "alpaca"), ("chat", "chat")],
)
def test_default_templates(preset, template):
    """A preset alone names everything."""
    assert ScoringRules.of(ScoringConfig(preset)).facts()["template"] == template


def test_a_length_of_the_config_beats_the_preset():
    """For every template, also one that has a length of its own."""
    assert {span.max_tokens for span in spans(frame("cherry", "wizardlm", 77), WITH).values()} == {77}
    assert spans(frame("selective-rt"), WITH)["y"].max_tokens == 2048


def test_an_unknown_preset_is_named_with_the_nearest():
    """A typing error is no other preset."""
    with pytest.raises(ConfigError, match=r"unknown preset 'cherri'\. Did you mean 'cherry'"):
        frame("cherri")
    with pytest.raises(ConfigError, match="Did you mean 'selective-rt'"):
        pipeline("selectiv-rt")


@pytest.mark.parametrize("pair", [WITHOUT, WITH])
def test_chat(pair):
    """Messages for the student to render, ids joined, each pass the twin of the other, the model's own limit."""
    asked = (Turn("user", f"{pair.instruction}\n{pair.input}" if pair.input else pair.instruction),)
    reverse, header = (Turn("user", GUESS),), (Turn("user", ""),)
    question = pair.instruction + pair.input
    assert spans(frame("chat"), pair) == {
        "y|x": Span(asked, "Blue.", "ids", header, None),
        "y": Span(header, "Blue.", "ids", asked, None),
        "x|y": Span(reverse, question, "ids", header, None),
        "x": Span(header, question, "ids", reverse, None),
    }


def test_a_record_s_own_system_prompt_belongs_to_x():
    """It stands in the conditional pass only; an empty one is one, too."""
    for system in ("Be brief.", ""):
        found = spans(frame("chat"), Pair("Name a colour.", "", "Blue.", system))
        assert found["y|x"].context[0] == Turn("system", system)
        assert found["y"].context == (Turn("user", ""),)
    text = spans(frame("selective-rt"), Pair("Name a colour.", "", "Blue.", "Be brief."))
    assert text["y|x"].context == "Be brief.\n\n" + vicuna("Name a colour.")


@pytest.mark.parametrize("template", [*PROMPTS, "chat"])
def test_the_reverse_prompt_shows_no_reasoning_trace(template):
    """A trace restates the question and would make every instruction easy to guess.

    The target of IFD keeps it in a text template; in messages it is read, and the answer alone is scored.
    """
    pair = Pair("Name a colour.", "", "<think>They want\na colour.</think>\nBlue.")
    found = spans(frame("chat" if template == "chat" else "selective-rt", template), pair)
    shown = found["x|y"].context if template != "chat" else found["x|y"].context[0].content
    assert GUESS in shown
    assert "They want" not in str(found["x|y"].context)
    assert found["y|x"].target == (pair.last if template == "chat" else pair.response)
    assert found["y|x"].part == ("answer" if template == "chat" else "whole")


CONVERSATION = Pair(
    "And a fruit.",
    "",
    "Plum.",
    "Be brief.",
    (Turn("user", "Name a colour."), Turn("assistant", "Blue."), Turn("user", "Another."), Turn("assistant", "Red.")),
)

ALL_TRAINED = trained_by(CONVERSATION, "all")


def test_the_last_turn_alone_is_scored_by_default():
    """So a score is about what is rewritten and trained."""
    made = frame("chat")
    (given,), (guessed,) = (
        made.response_given_instruction(CONVERSATION),
        made.instruction_given_response(CONVERSATION),
    )
    system = Turn("system", "Be brief.")
    assert (given.target, given.context) == ("Plum.", (system, *CONVERSATION.history, Turn("user", "And a fruit.")))
    assert given.within is None
    assert guessed.target == "And a fruit."
    assert guessed.context[:-1] == (system, *CONVERSATION.history)
    assert "Plum." in guessed.context[-1].content


def test_every_trained_turn_of_a_conversation_is_scored_on_what_came_before_it():
    """Turn t: its context is all before it, its target its own content."""
    made = frame("chat")
    given = made.response_given_instruction(ALL_TRAINED)
    assert [span.target for span in given] == ["Blue.", "Red.", "Plum."]
    system, history = Turn("system", "Be brief."), ALL_TRAINED.history
    whole = (*ALL_TRAINED.before, ALL_TRAINED.last)
    assert [span.within for span in given] == [whole, whole, None]
    assert [span.context for span in given] == [
        (system, history[0]),
        (system, *history[:3]),
        (system, *history, Turn("user", "And a fruit.")),
    ]
    alone = made.response_alone(ALL_TRAINED)
    assert [span.target for span in alone] == ["Blue.", "Red.", "Plum."]
    assert {span.context for span in alone} == {(Turn("user", ""),)}
    assert [span.paired_context for span in alone] == [span.context for span in given]
    assert [span.target for span in made.instruction_alone(ALL_TRAINED)] == [
        "Name a colour.",
        "Another.",
        "And a fruit.",
    ]


def test_two_questions_in_a_row_are_one_turn():
    """A user message without an answer is context of the next one."""
    pair = Pair("B?", "", "b", None, (Turn("user", "A?"), Turn("user", "A, please?"), Turn("assistant", "a")))
    pair = trained_by(pair, "all")
    first, last = turns(pair)
    assert (first.instruction, first.history) == ("A, please?", (Turn("user", "A?"),))
    assert last == pair


@pytest.mark.parametrize("before", [(), (Turn("system", "x"),)])
def test_an_answer_to_nobody_has_no_form(before):
    """It is a status, never a number, where it is trained; else it is a part of the context."""
    pair = Pair("B?", "", "b", None, (*before, Turn("assistant", "Hello.")))
    assert len(frame("chat").response_given_instruction(pair)) == 1
    with pytest.raises(Unscorable) as caught:
        frame("chat").response_given_instruction(trained_by(pair, "all"))
    assert caught.value.status == "empty"


def test_a_conversation_without_a_trained_turn_has_a_status():
    """A row whose turns are all marked as untrained is no sample to choose by."""
    with pytest.raises(Unscorable) as caught:
        frame("chat").response_given_instruction(evolve(CONVERSATION, trained=False))
    assert caught.value.status == "untrained"


@pytest.mark.parametrize("template", PROMPTS)
def test_text_templates_have_no_form_for_a_conversation(template):
    """The published prompts show one turn; the message names the template that shows more."""
    with pytest.raises(Unscorable, match="use template 'chat'"):
        frame("selective-rt", template).response_given_instruction(CONVERSATION)


def test_lengths_are_of_the_response_alone():
    """Counted without a forward pass, at the run's limit."""
    assert list(frame("superfiltering").response_length(WITH)) == [
        Span("", "Blue.", join="ids", max_tokens=1024, count_only=True)
    ]
