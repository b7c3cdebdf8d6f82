"""Sequences that do not hold what they give, and sums that do not hold what they add."""

from __future__ import annotations

from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rt_framework.builtin.stages.rows import scored_rows
from rt_framework.kit.compact import CompactStrings, LazySequence
from rt_framework.model import Pair, Sample, Score, Version
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


def test_rows_hold_ids_and_scores_and_read_texts_when_asked():
    """Scores without a number keep status and reason; a sample is read anew for its text only."""
    scores = [Score(0.5), Score(None, "empty", "no response"), Score(1.5, "out_of_range", "not < 1"), Score(0.0)]
    taken = []

    def sample(at):
        taken.append(at)
        version = Version("original", Pair(f"q{at}"))
        return Sample(f"id{at}", 10 + at, (version,), scores={"original": {"ifd": scores[at], "other": Score(1.0)}})

    rows = scored_rows(LazySequence(4, sample), ["ifd"])
    assert taken == [0, 1, 2, 3]
    assert [(row.sample_id, row.row, dict(row.scores)) for row in rows] == [
        (f"id{at}", 10 + at, {"ifd": scores[at]}) for at in range(4)
    ]
    assert taken == [0, 1, 2, 3]
    assert rows[2].version.pair.instruction == "q2"
    assert taken == [0, 1, 2, 3, 2]


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=30))
def test_a_sum_without_its_terms_is_the_exact_one(values):
    """To the last bit."""
    whole = _Sum()
    for value in values:
        whole.add(value)
    assert whole.mean == fsum(values) / len(values)
