"""Rewriting of every trained turn of a conversation, from the first on, by what later turns are worth after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rt_framework.config import Config
from rt_framework.errors import ConfigError
from rt_framework.jobs.quoting import quote
from rt_framework.plugin.host import Host
from rt_framework.testing import FakeStudent, ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests import fakes_plugin
from tests.run_helpers import Priced, go, job, side
from tests.test_conversations import CALLING, says

EACH = [{"reflect": {"reflection": "response", "turns": "each"}}, {"choose": "newest"}]
CHAT = {"preset": "chat"}


def rounds(count: int, **last: Any) -> dict[str, Any]:
    """A row with that many rounds."""
    messages = []
    for number in range(count):
        messages += [says("user", f"Question number {number}?"), says("assistant", f"Answer number {number}.")]
    messages[-1] |= last
    return {"messages": messages}


def each(tmp_path: Path, rows: list[dict[str, Any]], pipeline: object = None, **more: Any) -> Config:
    """A run that rewrites each turn of these rows."""
    config = job(tmp_path, rows, pipeline or EACH, scoring=CHAT, **more)
    return evolve(config, data=evolve(config.data, trained="all"))


def kept(tmp_path: Path) -> list[list[str]]:
    """The texts of each conversation that was kept."""
    rows = json.loads((tmp_path / "run/kept.json").read_text("utf-8"))
    return [[message["content"] for message in row["messages"]] for row in rows]


def test_turns_are_rewritten_front_to_back_each_after_the_accepted_ones(tmp_path):
    """The request about a turn shows the earlier turns as they are kept, and nothing of what comes after it."""
    teacher = ScriptedTeacher(rewriting)
    accepting = [{"reflect": {"reflection": "response", "turns": "each", "accept": "newest"}}, {"choose": "newest"}]
    go(each(tmp_path, [rounds(3)], accepting), tmp_path / "run", teacher)
    (texts,) = kept(tmp_path)
    assert texts[::2] == [f"Question number {number}?" for number in range(3)]
    assert all(text.startswith("The answer to response") for text in texts[1::2])
    assert [request.reflection for request in teacher.requests] == ["response-turn-1", "response-turn-2", "response"]
    shown = [request.messages[1].content for request in teacher.requests]
    assert "Answer number 1." not in shown[0] and "Answer number 2." not in shown[0]
    assert texts[1] in shown[1] and "Answer number 0." not in shown[1]
    assert texts[1] in shown[2] and texts[3] in shown[2]


class Fixed(FakeStudent):
    """A student that finds every later turn harder after a context with a given word."""

    fingerprint = "fixed"

    def score(self, batch):
        """Two nats a token after a sequence with a token of the word, else one."""
        from rt_framework import SpanLoss
        from rt_framework.testing.fakes import _words

        (hard,) = _words("long.")
        return [
            SpanLoss((2.0 if hard in span.ids[: span.start] else 1.0) * len(span.positions), len(span.positions))
            for span in batch
        ]


def test_a_rewrite_that_makes_later_turns_worse_is_not_accepted(tmp_path):
    """The scores that decide are over the later turns alone; the last turn is left to the next choice."""
    go(each(tmp_path, [rounds(3)]), tmp_path / "run", student=Fixed())
    (texts,) = kept(tmp_path)
    assert texts[1] == "Answer number 0." and texts[3] == "Answer number 1."
    assert texts[5].startswith("The answer to response")
    (line,) = side(tmp_path / "run")
    reasons = [decision["reason"] for decision in line["decisions"]]
    assert reasons[:2] == ["loss 2 > 1 of original"] * 2


def test_a_call_of_a_tool_is_skipped_and_its_later_answer_is_not(tmp_path):
    """Calls and results stay as they are, wherever they stand."""
    row = {
        "messages": [
            says("user", "How is the weather?"),
            CALLING,
            says("tool", "rain", tool_call_id="c1"),
            says("assistant", "It rains.", reasoning_content="The tool says so."),
            says("user", "And tomorrow?"),
            CALLING,
        ]
    }
    teacher = ScriptedTeacher(rewriting)
    accepting = [{"reflect": {"reflection": "response", "turns": "each", "accept": "newest"}}]
    go(each(tmp_path, [row], accepting), tmp_path / "run", teacher)
    (out,) = json.loads((tmp_path / "run/kept.json").read_text("utf-8"))
    changed = [place for place, message in enumerate(out["messages"]) if message != row["messages"][place]]
    assert changed == [3]
    assert "reasoning_content" not in out["messages"][3]
    assert [request.reflection for request in teacher.requests] == ["response-turn-2"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_quote_is_a_bound_for_each_turn(count, tmp_path):
    """Calls and cost of a run lie within the quote that was made before it."""
    other = {"messages": [says("user", "Another question?"), says("assistant", "Another answer.")]}
    config = each(tmp_path, [rounds(count), other])
    teacher = Priced()
    fakes_plugin.HELD["teacher"], fakes_plugin.HELD["student"] = teacher, FakeStudent()
    quoted = quote(Host(modules=["tests.fakes_plugin"], only=[], strict=True), config, tmp_path / "run")
    assert quoted.calls == quoted.sends.low == count + 1
    go(config, tmp_path / "run", teacher)
    assert quoted.sends.low <= len(teacher.requests) <= quoted.sends.high
    assert quoted.cost is not None
    assert 0 < teacher.paid <= quoted.cost.high
    again = quote(Host(modules=["tests.fakes_plugin"], only=[], strict=True), config, tmp_path / "run")
    assert (again.sends.low, again.answered) == (0, again.unique)


def test_a_resumed_run_asks_nothing_again(tmp_path):
    """Earlier turns are paid for once, as all others."""
    config = each(tmp_path, [rounds(4), rounds(2)])
    go(config, tmp_path / "run")
    first = kept(tmp_path)
    teacher = ScriptedTeacher(rewriting)
    go(config, tmp_path / "run", teacher)
    assert kept(tmp_path) == first
    assert teacher.requests == []


def test_only_trained_turns_are_rewritten(tmp_path):
    """By default that is the last one, and each turn is the last turn."""
    teacher = ScriptedTeacher(rewriting)
    config = job(tmp_path, [rounds(3)], EACH, scoring=CHAT)
    go(config, tmp_path / "run", teacher)
    assert [request.reflection for request in teacher.requests] == ["response"]


def test_draws_of_each_turn_are_refused(tmp_path):
    """One draw of each turn; the refusal says what to leave out."""
    several = [{"reflect": {"reflection": {"response": {"temperature": 0.8}}, "turns": "each", "draws": 2}}]
    with pytest.raises(ConfigError, match="turns: each takes one draw of a turn"):
        go(each(tmp_path, [rounds(2)], several), tmp_path / "run")
