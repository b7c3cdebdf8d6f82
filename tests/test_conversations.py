"""Conversations as data sets have them: of each odd row what is asked, scored, rewritten, kept and said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen
from hypothesis import given
from hypothesis import strategies as st

from rt_framework.config import Config
from rt_framework.data.shapes import column_names, find_shape, to_record, to_row
from rt_framework.errors import DataError
from rt_framework.model import Pair, Reply, Request, Turn
from rt_framework.teacher.client import consistent
from rt_framework.testing import ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests.run_helpers import Rewriting, go, job, side

NEW = "The answer to response"
"""Beginning of every text that the scripted teacher writes."""

PIPELINE = [{"reflect": "response"}, {"choose": "newest"}, {"measure": ["ifd", "r-ifd"]}]

CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def says(role: str, content: Any, **more: Any) -> dict[str, Any]:
    """A message in the words of OpenAI."""
    return {"role": role, "content": content, **more}


def gpt(role: str, value: str, **more: Any) -> dict[str, Any]:
    """A message in the words of ShareGPT."""
    return {"from": role, "value": value, **more}


ASKED, ANSWERED = says("user", "Name a river in Europe."), says("assistant", "The Rhine is a river in Europe.")
AGAIN = says("user", "Please.")
CALLING = says("assistant", None, tool_calls=[CALL])


@frozen
class Odd:
    """A row, and what becomes of it."""

    messages: list[dict[str, Any]]
    rewritten: int | None = -1
    """Place of the message whose text is replaced; ``None`` if nothing is asked and the row stays as it is."""
    status: str = "ok"
    """Status of the original's IFD."""
    column: str = "messages"
    text: str = "content"
    """Key of the text that is replaced."""
    more: dict[str, Any] = field(factory=dict)
    """Further columns."""


ODD = {
    "a call of a tool at the end": Odd([ASKED, CALLING], None, more={"tools": [TOOL]}),
    "a tool in between": Odd(
        [ASKED, CALLING, says("tool", "rain", tool_call_id="c1"), ANSWERED],
        more={"tools": json.dumps([TOOL])},
    ),
    "content null": Odd([ASKED, says("assistant", None)], status="empty"),
    "content parts": Odd(
        [ASKED, says("assistant", [{"type": "text", "text": "The "}, {"type": "text", "text": "Po."}])]
    ),
    "a developer": Odd([says("developer", "Be brief."), ASKED, ANSWERED]),
    "a system turn in the middle": Odd([ASKED, ANSWERED, says("system", "Be brief."), AGAIN, ANSWERED]),
    "ends with the user": Odd([ASKED, ANSWERED, AGAIN], rewritten=1),
    "ShareGPT with user and assistant": Odd(
        [gpt("user", "Name a river."), gpt("assistant", "The Rhine flows.")], column="conversations", text="value"
    ),
    "ShareGPT with a call and its result": Odd(
        [
            gpt("human", "Name a river."),
            gpt("function_call", '{"name": "atlas", "arguments": {"what": "river"}}'),
            gpt("observation", "Rhine"),
            gpt("gpt", "The Rhine flows."),
        ],
        column="conversations",
        text="value",
        more={"tools": json.dumps([TOOL])},
    ),
    "begins with gpt": Odd(
        [gpt("gpt", "Hello."), gpt("human", "Name a river."), gpt("gpt", "The Rhine flows.")],
        column="conversations",
        text="value",
    ),
    "weight 0": Odd([ASKED, says("assistant", "The Po.", weight=0), AGAIN, ANSWERED]),
    "reasoning apart": Odd([ASKED, says("assistant", "The Rhine flows.", reasoning_content="One in Europe.")]),
    "reasoning only": Odd([ASKED, says("assistant", "", reasoning_content="One in Europe.")], status="empty"),
    "reasoning within, only": Odd([ASKED, says("assistant", "<think>One in Europe.</think>")], status="empty"),
    "an empty answer": Odd([ASKED, says("assistant", "")], status="empty"),
    "an empty question": Odd([says("user", ""), ANSWERED], status="empty"),
    "white space": Odd([ASKED, says("assistant", " \n\u200b ")], status="empty"),
    "40 turns": Odd([ASKED, ANSWERED] * 20),
    "longer than the window": Odd([says("user", "word " * 600), ANSWERED], status="no_room"),
    "prompt and completion of messages": Odd([ANSWERED], column="completion", more={"prompt": [ASKED]}),
    "two answers in a row": Odd([ASKED, says("assistant", "The Po."), ANSWERED]),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_row_is_rewritten_in_its_last_answer_alone(name, tmp_path):
    """All else is kept to the byte; a call of a tool is never rewritten, and nothing is asked about it."""
    odd = ODD[name]
    row = {odd.column: odd.messages, "source": "x", **odd.more}
    teacher = ScriptedTeacher(rewriting)
    config = job(tmp_path, [row], PIPELINE, scoring={"preset": "chat", "max_tokens": 500})
    go(config, tmp_path / "run", teacher)
    expected = json.loads(json.dumps(row))
    if odd.rewritten is not None:
        message = expected[odd.column][odd.rewritten]
        message.pop("reasoning_content", None)
        message[odd.text] = "NEW" if not isinstance(message[odd.text], list) else [{"type": "text", "text": "NEW"}]
    (kept,) = json.loads((tmp_path / "run/kept.json").read_text("utf-8"))
    assert json.loads(_without_new_text(kept)) == expected
    assert len(teacher.requests) == (0 if odd.rewritten is None else 1)
    (line,) = side(tmp_path / "run")
    score = line["scores"]["original"]["ifd"]
    assert (score["status"] if isinstance(score, dict) else "ok") == odd.status, line


def _without_new_text(value: object) -> str:
    return re.sub(NEW + r" \w+ is long\.", "NEW", json.dumps(value))


BAD = {
    "no answer": ([ASKED], "has no assistant turn"),
    "an answer to nobody": ([ANSWERED], "has no user turn before its last assistant turn"),
    "an image": (
        [says("user", [{"type": "image_url", "image_url": {"url": "x"}}]), ANSWERED],
        "turn 1 of 'messages': content holds a part of type 'image_url', which is no text",
    ),
    "a call without a name": (
        [ASKED, says("assistant", None, tool_calls=[{"id": "1"}])],
        "without a name",
    ),
    "a call that is no JSON": ([ASKED, gpt("function_call", "weather()")], "turn 2 of 'messages' is no JSON of a call"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_row_that_cannot_be_read_is_named(name):
    """The message says which turn, what is wrong with it, and the way out."""
    messages, words = BAD[name]
    with pytest.raises(DataError) as caught:
        read({"messages": messages})
    assert words in str(caught.value)


def read(row: dict[str, Any], trained: str = "last", shape: str = "messages") -> Pair:
    """The pair of a row."""
    meaning = find_shape(shape)
    return to_record(meaning, row, column_names(meaning, {}), trained).pair


# --- trained turns ----------------------------------------------------------------------------


def trained(pair: Pair) -> list[str]:
    """The texts of the trained turns."""
    turns = [*pair.history, *pair.since, pair.last]
    return [turn.content for turn in turns if turn.trained]


THREE = [
    says("user", "A?"),
    says("assistant", "a"),
    says("user", "B?"),
    says("assistant", "b", weight=0),
    says("user", "C?"),
    says("assistant", "c"),
]


@pytest.mark.parametrize(("rule", "expected"), [("last", ["c"]), ("all", ["a", "b", "c"]), ("marked", ["a", "c"])])
def test_a_rule_says_which_turns_are_trained(rule, expected):
    """The texts are the same by each rule, and so is the hash."""
    pair = read({"messages": THREE}, rule)
    assert trained(pair) == expected
    assert pair.hash == read({"messages": THREE}).hash


@pytest.mark.parametrize("mark", [{"train": False}, {"weight": 0.0}, {"loss_mask": 0}, {"training": False}])
def test_the_last_trained_turn_is_the_response_of_marked_turns(mark):
    """Turns after it are carried along, and are no part of any score."""
    messages = [*THREE[:-1], says("assistant", "c", **mark)]
    pair = read({"messages": messages}, "marked")
    assert (pair.instruction, pair.response, trained(pair)) == ("A?", "a", ["a"])
    assert [turn.content for turn in pair.after] == ["B?", "b", "C?", "c"]


@pytest.mark.parametrize("mark", [{"weight": 0.5}, {"train": "yes"}, {"train": True, "weight": 0}])
def test_a_mark_is_yes_or_no(mark):
    """A score has no weights, and two marks that contradict each other are none."""
    messages = [says("user", "A?"), says("assistant", "a", **mark)]
    assert read({"messages": messages}).response == "a"
    with pytest.raises(DataError, match=r"turn 2 of 'messages' has .*(counts or it does not|keep one)"):
        read({"messages": messages}, "marked")


def measuring(tmp_path: Path, row: dict[str, Any], **turns: Any) -> Config:
    """A run that scores one row, with rules about its turns."""
    config = job(tmp_path, [row], [{"measure": ["ifd", "r-ifd"]}], scoring={"preset": "chat"})
    return evolve(config, data=evolve(config.data, **turns))


def test_rows_without_a_trained_turn_are_kept_without_a_score(tmp_path):
    """Under 'marked' a row whose answers are all marked as untrained has the status 'untrained'."""
    row = {"messages": [says("user", "A?"), says("assistant", "a", weight=0)]}
    go(measuring(tmp_path, row, trained="marked"), tmp_path / "run")
    (line,) = side(tmp_path / "run")
    assert {score["status"] for score in line["scores"]["original"].values()} == {"untrained"}
    assert json.loads((tmp_path / "run/kept.json").read_text("utf-8")) == [row]


@pytest.mark.parametrize("rule", ["last", "marked"])
def test_a_conversation_is_unrolled_into_a_sample_of_each_answer(rule, tmp_path):
    """Each has the turns before it; of marked turns only those that are trained make a sample."""
    go(measuring(tmp_path, {"messages": THREE, "n": 1}, unroll=True, trained=rule), tmp_path / "run")
    kept = json.loads((tmp_path / "run/kept.json").read_text("utf-8"))
    ends = [2, 4, 6] if rule == "last" else [2, 6]
    assert kept == [{"messages": THREE[:end], "n": 1} for end in ends]


def test_alpaca_rounds_are_unrolled_too(tmp_path):
    """The earlier rounds become samples of their own; the input belongs to the last one."""
    row = {"instruction": "C?", "input": "now", "output": "c", "history": [["A?", "a"], ["B?", "b"]]}
    go(measuring(tmp_path, row, unroll=True), tmp_path / "run")
    kept = json.loads((tmp_path / "run/kept.json").read_text("utf-8"))
    assert kept == [
        {"instruction": "A?", "input": "", "output": "a", "history": []},
        {"instruction": "B?", "input": "", "output": "b", "history": [["A?", "a"]]},
        row,
    ]


# --- round trips ------------------------------------------------------------------------------

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_MESSAGES = st.one_of(
    st.builds(says, st.sampled_from(["user", "assistant", "system", "developer"]), _TEXTS),
    st.builds(says, st.just("assistant"), st.none() | _TEXTS, tool_calls=st.just([CALL])),
    st.builds(says, st.just("assistant"), _TEXTS, reasoning_content=_TEXTS, weight=st.sampled_from([0, 1])),
    st.builds(says, st.just("tool"), _TEXTS, tool_call_id=st.just("c1"), name=st.just("weather")),
    st.builds(lambda text: says("user", [{"type": "text", "text": text}]), _TEXTS),
)
_CONVERSATIONS = st.lists(_MESSAGES, max_size=8).map(lambda middle: [ASKED, *middle, ANSWERED])


@given(_CONVERSATIONS, st.sampled_from(["last", "all", "marked"]))
def test_nothing_is_lost_and_nothing_invented(messages, rule):
    """An unchanged record gives back its row; a new response replaces one text, and takes its reasoning along."""
    meaning = find_shape("messages")
    names = column_names(meaning, {})
    row = {"messages": messages, "tools": [TOOL], "id": 7}
    record = to_record(meaning, row, names, rule)
    assert to_row(meaning, record, names) == row
    if record.pair.tool_calls:
        return
    new = to_row(meaning, evolve(record, pair=evolve(record.pair, response="NEW", reasoning=None)), names)
    changed = [place for place, message in enumerate(messages) if new["messages"][place] != message]
    assert len(new["messages"]) == len(messages)
    assert len(changed) == 1
    (place,) = changed
    assert messages[place]["role"] == "assistant"
    assert "tool_calls" not in messages[place]
    assert new["messages"][place]["content"] in ("NEW", [{"type": "text", "text": "NEW"}])
    assert "reasoning_content" not in new["messages"][place]


def test_a_conversation_with_tools_has_no_form_in_shapes_without_them():
    """The refusal names what would be lost and the shape that holds it."""
    row = {"messages": [ASKED, says("assistant", "The Po.", reasoning_content="One.")]}
    meaning, other = find_shape("messages"), find_shape("sharegpt")
    record = to_record(meaning, row, column_names(meaning, {}))
    with pytest.raises(DataError, match="shape sharegpt has no place for reasoning; use shape messages"):
        to_row(other, record, column_names(other, {}))


def test_turns_know_their_answer_and_their_thoughts():
    """Reasoning is found apart from the text and within it."""
    within = Turn("assistant", "<think>One.</think>\n\nTwo.")
    apart = Turn("assistant", "Two.", "One.")
    assert (within.answer, within.thoughts) == ("Two.", "One.")
    assert (apart.answer, apart.thoughts) == ("Two.", "One.")


# --- rewrites ---------------------------------------------------------------------------------


@given(_CONVERSATIONS, st.booleans())
def test_no_rewrite_keeps_old_reasoning_or_touches_a_tool(messages, keeps):
    """Core sees to it, whatever a reflection returns."""
    old = read({"messages": messages, "tools": [TOOL]})
    if not old.tool_calls:
        new = consistent(old, evolve(old, response="NEW"))
        assert (new.response, new.reasoning) == ("NEW", None)
        assert consistent(old, evolve(old, response="NEW", reasoning="A new way.")).reasoning == "A new way."
        assert consistent(old, old) == old
    tools = [place for place, turn in enumerate(old.history) if turn.role == "tool" or turn.tool_calls]
    if tools:
        turns = list(old.history)
        turns[tools[0]] = evolve(turns[tools[0]], content=f"{turns[tools[0]].content}!")
        with pytest.raises(ValueError, match="a call of a tool or its result"):
            consistent(old, evolve(old, history=tuple(turns) if keeps else tuple(old.history[: tools[0]])))


class Meddling(Rewriting):
    """A reflection that invents what a tool has said."""

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Pair:
        """The pair with another result of its tool."""
        return evolve(pair, response="It is sunny.", since=(*pair.since[:-1], evolve(pair.since[-1], content="sun")))


def test_a_reflection_that_invents_a_result_of_a_tool_fails_its_sample(tmp_path, monkeypatch):
    """The reason names the fault, and the sample is not kept."""
    monkeypatch.setattr("rt_framework.builtin.reflections.response.ResponseReflection.parse", Meddling.parse)
    row = {"messages": [ASKED, CALLING, says("tool", "rain", tool_call_id="c1"), ANSWERED]}
    summary = go(job(tmp_path, [row], PIPELINE, scoring={"preset": "chat"}), tmp_path / "run")
    assert summary.outcomes["failed"] == 1
    (line,) = side(tmp_path / "run")
    assert "a rewrite changes a call of a tool or its result, which have to stay as they are" in line["reason"]
