"""The bundled demo: every recorded answer belongs to a pair that a run over the samples can ask about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rt_framework.model import Pair

DEMO = Path(__file__).parent.parent / "demo"
PARTS = {"instruction": ("critique", "instruction", "response"), "response": ("critique", "response")}


def usable(answer: dict[str, Any]) -> dict[str, str] | None:
    """The parts of a complete answer, or None."""
    if answer["finish_reason"] != "stop" or "<" in answer["text"]:
        return None
    try:
        parts = json.loads(answer["text"])
    except ValueError:
        return None
    names = PARTS[answer["reflection"]]
    return parts if all(isinstance(parts.get(name), str) and parts[name] for name in names) else None


@pytest.fixture(scope="module")
def originals() -> dict[str, Pair]:
    rows = json.loads((DEMO / "samples.json").read_text("utf-8"))
    pairs = [Pair(row["instruction"], row["input"], row["output"]) for row in rows]
    return {pair.hash: pair for pair in pairs}


@pytest.fixture(scope="module")
def answers() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DEMO / "answers.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def rewritten(answers) -> dict[str, Pair]:
    parts = [usable(answer) for answer in answers if answer["reflection"] == "instruction"]
    pairs = [Pair(instruction=part["instruction"], response=part["response"]) for part in parts if part]
    return {pair.hash: pair for pair in pairs}


def test_there_are_40_different_samples_with_a_topic(originals):
    """The extra column is there so that a demo shows that it is kept."""
    rows = json.loads((DEMO / "samples.json").read_text("utf-8"))
    assert len(rows) == len(originals) == 40
    assert all(set(row) == {"instruction", "input", "output", "topic"} and row["topic"] for row in rows)


def test_every_answer_belongs_to_a_known_pair_and_is_recorded_once(originals, rewritten, answers):
    """An answer under a stale hash would never be found."""
    assert {answer["pair"] for answer in answers} == set(originals) | set(rewritten)
    keys = {(answer["reflection"], answer["pair"], answer["index"]) for answer in answers}
    assert len(keys) == len(answers)


def test_every_original_has_a_first_answer_to_both_reflections(originals, answers):
    """The student may keep the original, so both questions can be asked about it."""
    first = {(answer["reflection"], answer["pair"]) for answer in answers if answer["index"] == 0}
    assert first >= {(reflection, pair) for pair in originals for reflection in PARTS}


def test_every_rewritten_pair_has_a_response_answer(rewritten, answers):
    """The student may keep the rewrite, so the second question can be asked about it too."""
    asked = {answer["pair"] for answer in answers if answer["reflection"] == "response" and answer["index"] == 0}
    assert len(rewritten) >= 32
    assert asked >= set(rewritten)


def test_some_answers_are_unusable_and_some_of_those_get_better_on_the_second_try(answers):
    """A newcomer sees failures and retries as they happen in real life."""
    second = {(answer["reflection"], answer["pair"]): answer for answer in answers if answer["index"] == 1}
    broken = [answer for answer in answers if answer["index"] == 0 and not usable(answer)]
    retried = [second.get((answer["reflection"], answer["pair"])) for answer in broken]
    assert len(broken) == 8
    assert sum(answer is None for answer in retried) == 2
    assert sum(bool(answer and usable(answer)) for answer in retried) == 3
