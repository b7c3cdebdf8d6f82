"""Sequences that do not hold what they give, and sums that do not hold what they add."""

from __future__ import annotations

import datetime
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rt_framework.data import Spool
from rt_framework.kit.compact import CompactStrings, LazySequence
from rt_framework.kit.score_table import ScoreTable
from rt_framework.model import Pair, Score, Version
from rt_framework.rundir.summary import _Sum


@given(st.lists(st.integers(), max_size=9), st.slices(9), st.integers(-12, 12))
def test_a_late_sequence_is_like_a_list(items, part, at):
    """Length, order, positions from either end and slices of slices."""
    late = LazySequence(len(items), items.__getitem__)
    assert list(late) == items
    assert list(late[part]) == items[part]
    assert list(late[part][::-1]) == items[part][::-1]
    assert list(reversed(late)) == items[::-1]
    if -len(items) <= at < len(items):
        assert late[at] == items[at]
    else:
        with pytest.raises(IndexError):
            late[at]


def test_items_are_made_when_they_are_taken():
    """And made again, since they are not kept."""
    made = []
    late = LazySequence(1000, lambda at: made.append(at) or at)[10:20]
    assert made == []
    assert (late[3], late[3], made) == (13, 13, [13, 13])


@given(st.lists(st.text(st.characters(), max_size=5)))
def test_strings_come_back_as_they_were(texts):
    """Empty ones and lone surrogates included."""
    held = CompactStrings(texts)
    assert [held[at] for at in range(len(held))] == texts


SCORES = [Score(0.5), Score(None, "empty", "no response"), Score(1.5, "out_of_range", "not < 1"), Score(0.0)]


def table():
    """Four samples, each with a score of another kind."""
    made = ScoreTable(["ifd"])
    for at, score in enumerate(SCORES):
        made.append(f"id{at}", {"ifd": score, "other": Score(1.0)})
    return made


def test_rows_of_a_score_table_read_a_text_when_it_is_asked_for():
    """Scores without a number keep status and reason; the samples may come in another order than the scores."""
    read = []

    def version(place):
        read.append(place)
        return Version("original", Pair(f"q{place}"))

    rows = table().rows([10, 11, 12, 13], version)
    assert [(row.sample_id, row.row, dict(row.scores)) for row in rows] == [
        (f"id{at}", 10 + at, {"ifd": SCORES[at]}) for at in range(4)
    ]
    turned = table().rows([7, 8], version, positions=[3, 1])
    told = [(row.sample_id, row.row, row.scores["ifd"]) for row in turned]
    assert told == [("id3", 7, SCORES[3]), ("id1", 8, SCORES[1])]
    assert read == []
    assert (rows[2].version.pair.instruction, turned[1].version.pair.instruction) == ("q2", "q1")
    assert read == [2, 1]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=4), unique=True, max_size=9), st.integers(0, 10))
def test_a_sample_is_found_in_a_score_table_wherever_it_is(ids, guess):
    """Any place may be tried first; a sample that is not in the table is not found."""
    made = ScoreTable([])
    for sample_id in ids:
        made.append(sample_id, {})
    assert [made.position(sample_id, guess) for sample_id in ids] == list(range(len(ids)))
    assert made.position("longer than four", guess) is None


def test_values_on_disk_come_back_in_any_order(tmp_path):
    """And more can be added after some were read."""
    with Spool[object](tmp_path) as spool:
        for value in ("a" * 9000, {"b": datetime.date(2024, 2, 29)}):
            spool.append(value)
        assert spool[1] == {"b": datetime.date(2024, 2, 29)}
        spool.append(Pair("q"))
        assert list(spool) == ["a" * 9000, {"b": datetime.date(2024, 2, 29)}, Pair("q")]
        assert list(tmp_path.iterdir()) == [], "the file has no name"


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30))
def test_a_sum_without_its_terms_is_the_exact_one(values):
    """To the last bit."""
    whole = _Sum()
    for value in values:
        whole.add(value)
    assert whole.mean == fsum(values) / len(values)
