"""Promise 2: ambiguous calls are bounded and listed."""

from __future__ import annotations


def test_whatever_was_billed_twice_is_listed(kills):
    """By id, and nothing else is: they are the calls that were under way, at most as many as may be at once."""
    for one in kills:
        asked = one.asked + one.asked_again
        twice = {question for question, count in asked.items() if count > 1}
        assert twice <= one.unknown, one.point
        assert one.unknown == one.open, one.point
        assert len(one.open) <= 4
        assert max(asked.values()) <= 2


def test_nothing_was_asked_without_a_committed_intent(kills):
    """Each question that reached the server before the kill is in the ledger, answered or open."""
    for one in kills:
        assert set(one.asked) <= one.committed | one.open, one.point
