"""The data model: ids are content, samples remember, sums over turns are exact."""

from __future__ import annotations

import math

import pytest
from attrs.exceptions import FrozenInstanceError

from rt_framework.model import Decision, Failure, Pair, Range, Score, Turn, Version, digest
from rt_framework.spans import Loss, SpanLoss, total
from tests.run_helpers import pair, sample


def test_a_hash_is_of_the_content_alone():
    """Equal content has one hash, any change of any part another."""
    one = Pair("a", "b", "c", "d", (Turn("user", "e"),))
    assert one.hash == Pair("a", "b", "c", "d", (Turn("user", "e"),)).hash
    others = [
        Pair("", "ab", "c", "d", one.history),
        Pair("a", "b", "", "d", one.history),
        Pair("a", "b", "c", None, one.history),
        Pair("a", "b", "c", "", one.history),
        Pair("a", "b", "c", "d"),
        Pair("a", "b", "c", "d", (Turn("assistant", "e"),)),
    ]
    assert len({one.hash, *(other.hash for other in others)}) == 7


def test_text_that_is_no_utf_8_has_a_hash():
    """A lone surrogate, as JSON files hold it, is content like any other."""
    assert digest("\ud800") != digest("\ud801")


def test_the_order_of_keys_is_no_content():
    """Two equal mappings have one hash."""
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_samples_are_frozen():
    """A stage cannot change a sample under another one's feet."""
    with pytest.raises(FrozenInstanceError):
        sample().kept = "other"


@pytest.mark.parametrize(
    ("bounds", "inside", "outside"),
    [
        (Range(), [-1e9, 0.0, 1e9], []),
        (Range(below=1), [0.999, -5], [1.0, 2]),
        (Range(at_most=1), [1.0, 0], [1.0001]),
        (Range(above=0), [0.1], [0.0, -1]),
        (Range(at_least=2, below=3), [2.0, 2.5], [1.9, 3.0]),
    ],
)
def test_bounds(bounds, inside, outside):
    """Open and closed bounds are what they say; what is not a number is in no bounded range."""
    assert all(value in bounds for value in inside)
    assert not any(value in bounds for value in outside)
    assert (math.nan in bounds) is (bounds == Range())


def test_only_a_good_score_can_win():
    """A value out of its range, or none, cannot."""
    assert Score(0.5).eligible
    assert not Score(1.5, "out_of_range").eligible
    assert not Score(None, "empty").eligible


def test_a_decision_makes_the_current_version_and_uses_its_rivals_up():
    """A rewrite is judged once; what is written from the kept version is the next rival."""
    first = sample().adding(Version("instruction", pair(1), "original", "instruction"))
    assert [version.name for version in first.rivals] == ["instruction"]
    second = first.deciding(Decision("choose", ("original", "instruction"), "instruction", "better"))
    assert second.current.name == "instruction"
    assert second.rivals == ()
    lost = first.deciding(Decision("choose", ("original", "instruction"), "original", "worse"))
    assert lost.current is lost.original
    assert lost.rivals == ()
    third = second.adding(Version("instruction.response", pair(2), "instruction", "response"))
    assert [version.name for version in third.rivals] == ["instruction.response"]


def test_a_failure_changes_nothing_else():
    """The sample goes on with the version it has."""
    failed = sample().failing(Failure("reflect", "empty", "the answer is empty"))
    assert failed.current == sample().current
    assert [failure.kind for failure in failed.failures] == ["empty"]


def test_scores_gather_by_version():
    """Later stages add metrics; those of versions of other samples are passed over."""
    own = sample()
    stranger = Version("original", pair(99))
    scored = own.scoring({own.original: {"ifd": Score(0.5)}, stranger: {"ifd": Score(9.0)}})
    scored = scored.scoring({own.original: {"r-ifd": Score(0.7)}})
    assert scored.scores == {"original": {"ifd": Score(0.5), "r-ifd": Score(0.7)}}
    with pytest.raises(KeyError):
        own.version("nowhere")


def test_turns_are_weighted_by_their_tokens():
    """The mean of a conversation is that of its tokens, not of its turns."""
    loss = total([SpanLoss(1.0, 1), SpanLoss(9.0, 3)])
    assert (loss.nll, loss.tokens, loss.mean, len(loss.parts)) == (10.0, 4, 2.5, 2)


def test_one_turn_without_a_number_leaves_none():
    """Its status and reason are the conversation's; a part of the sum is no sum."""
    loss = total([SpanLoss(1.0, 2), SpanLoss(None, 0, "empty", "the target is empty"), SpanLoss(None, 0, "oom", "no")])
    assert (loss.nll, loss.status, loss.reason) == (None, "empty", "the target is empty")
    with pytest.raises(ValueError, match="the target is empty"):
        _ = loss.mean


def test_counted_turns_have_a_length_and_no_loss():
    """Counting is good enough for a length."""
    assert total([SpanLoss(None, 3), SpanLoss(None, 4)]) == Loss(None, 7, parts=(SpanLoss(None, 3), SpanLoss(None, 4)))
