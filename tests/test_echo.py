"""Echo: how far a response repeats its question, as a number, as a metric, as a control, and as a guard."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rt_framework.builtin.metrics.plain import Echo
from rt_framework.builtin.reflections.guards import Proposal, objection
from rt_framework.builtin.selectors.dataset import EchoMatched, Top
from rt_framework.builtin.selectors.settings import LengthMatchedSettings, TopSettings
from rt_framework.errors import Unscorable
from rt_framework.kit.echo import echo, novel
from rt_framework.kit.words import words
from rt_framework.model import ORIGINAL, Pair, Score, Scored, Version
from tests.helpers import Cli, json_lines, write_json


@pytest.mark.parametrize(
    ("asked", "answer", "expected"),
    [
        ("Name two gases.", "Name two gases: helium and neon.", 1.0),
        ("Name two gases.", "NAME two\ngases!", 1.0),
        ("Name two gases.", "Two gases to name.", 0.0),
        ("Name two noble gases.", "I name two noble ones.", 0.5),
        ("Name two gases. Name two gases.", "Name two gases.", 1 / 3),  # three trigrams, one of them twice
        ("Name gases", "Name gases", None),
        ("Name two gases", "", 0.0),
        ("写一首诗", "写一首诗:春天", 1.0),
        ("写一首诗", "一首歌", 0.0),
    ],
)
def test_the_share_of_trigrams(asked, answer, expected):
    """Worked by hand: each trigram of the question counts once, without case and punctuation."""
    assert echo(asked, answer) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("text", "other", "size", "expected"),
    [
        ("Name two gases now", "two gases", 2, ["Name", "now"]),
        ("Name two gases now", "name TWO, gases now", 2, []),
        ("Name two gases now", "gases two", 2, ["Name two gases now"]),
        ("Name two, gases now", "name two", 2, ["gases now"]),
        ("a b c d e", "c d", 2, ["a b", "e"]),
        ("a b c", "a b c", 3, []),
        ("a", "a", 2, ["a"]),
        ("", "a", 2, []),
    ],
)
def test_the_ranges_of_new_words(text, other, size, expected):
    """Words outside all shared n-grams; neighbours are one range with what stands between them."""
    assert [text[begins:ends] for begins, ends in novel(text, other, size)] == expected


@given(st.text("abc ,.", max_size=30), st.text("abc ,.", max_size=30), st.integers(1, 3))
def test_new_words_and_repeated_ones_are_all_words(text, other, size):
    """No word is in two ranges, ranges are in order, and a word that is in no shared n-gram is in one."""
    ranges = novel(text, other, size)
    assert all(begins < ends for begins, ends in ranges)
    assert all(one[1] < two[0] for one, two in pairwise(ranges))
    found = [word for begins, ends in ranges for word in words(text[begins:ends])]
    own, others = words(text), words(other)
    shared = {tuple(others[place : place + size]) for place in range(len(others) - size + 1)}
    expected = [
        word
        for at, word in enumerate(own)
        if not any(
            tuple(own[first : first + size]) in shared and first + size <= len(own)
            for first in range(max(0, at - size + 1), at + 1)
        )
    ]
    assert found == expected


def test_the_metric_reads_question_and_answer():
    """The input belongs to the question, reasoning does not belong to the answer; what has none says why."""
    pair = Pair("Name it.", "The light gas", "<think>Name it. The light gas</think>The light gas is helium.")
    assert Echo().value(pair) == pytest.approx(1 / 3)
    for pair, status in (
        (Pair("Name it", "", "Helium"), "too_short"),
        (Pair("Name two gases", "", " "), "empty"),
        (Pair(" ", "", "Helium"), "empty"),
    ):
        with pytest.raises(Unscorable) as caught:
            Echo().value(pair)
        assert caught.value.status == status


def test_no_student_is_needed(tmp_path, monkeypatch, capfd):
    """`rt score` computes it from the texts."""
    monkeypatch.chdir(tmp_path)
    data = [
        {"instruction": "Name two gases.", "input": "", "output": output} for output in ("Neon.", "I name two gases.")
    ]
    write_json(tmp_path / "d.json", data)
    done = Cli(monkeypatch, capfd)("score", "d.json", "--metric", "echo", "--out", "s.jsonl")
    assert done.code == 0
    assert [line["metrics"]["echo"] for line in json_lines(tmp_path / "s.jsonl")] == [0.0, 1.0]


def sample(place, value, repeated):
    """A sample whose response repeats so many of its ten trigrams."""
    asked = [f"w{number}" for number in range(12)]
    answer = " ".join([*asked[: repeated + 2 if repeated else 0], "x" * (place + 1)])
    return Scored(f"id{place}", place, Version(ORIGINAL, Pair(" ".join(asked), "", answer)), {"ifd": Score(value)})


def test_the_control_is_matched_in_echo():
    """The nearest share, whatever the length; `length-matched` would take others."""
    rows = [
        sample(0, 0.9, 5),
        sample(1, 0.8, 0),
        sample(2, 0.1, 9),
        sample(3, 0.2, 4),
        sample(4, 0.3, 0),
        sample(5, 0.1, 1),
    ]
    verdicts = EchoMatched(LengthMatchedSettings(metric="ifd", count=2)).select(rows)
    assert [verdict.keep for verdict in verdicts] == [False, False, False, True, True, False]
    assert verdicts[3].reason == "echo 0.400, matched to the 0.500 of rank 1 by ifd"
    assert verdicts[2].reason == "not the nearest in echo to any of the top 2 by ifd"
    assert [v.keep for v in Top(TopSettings("ifd", count=2)).select(rows)] == [True, True, *[False] * 4]


LONG = "Explain to a child why the sky is blue at noon and red in the evening."


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ("Light scatters.", f"{LONG} Light scatters.", True),
        ("Light scatters.", f"**{LONG.upper()}**\n\nLight scatters.", True),
        (f"{LONG} Light.", f"{LONG} Light scatters.", False),
        ("Light scatters.", f"To {LONG[0].lower()}{LONG[1:-1]}, begin with light.", False),
        ("Light scatters.", "The sky is blue at noon and red in the evening since light scatters.", False),
    ],
)
def test_a_rewrite_that_begins_with_its_instruction_is_refused(old, new, refused):
    """Not one that takes up the question's words, as good answers do, nor one whose original did the same."""
    pairs = [Pair(LONG, "", text) for text in (old, new)]
    found = objection(Proposal(*pairs, (new,), "token", ()))
    assert (found is not None and "repeating its whole instruction" in found.reason) is refused


def test_a_short_instruction_may_be_the_first_words():
    """An answer may begin so by chance."""
    pairs = [Pair("Once upon a time there was", "", text) for text in ("A king.", "Once upon a time there was a king.")]
    assert objection(Proposal(*pairs, (pairs[1].response,), "token", ())) is None
