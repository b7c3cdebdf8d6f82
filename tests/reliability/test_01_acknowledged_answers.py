"""Promise 1: an acknowledged answer is never lost, nor paid again."""

from __future__ import annotations

from tests.reliability.kills import PLACES, Point, killed


def test_the_points_are_worth_it(kills):
    """Most come before the end of a run, at every place, with answers committed and calls under way."""
    died = [one for one in kills if one.died]
    assert len(died) >= 0.6 * len(kills)
    assert {one.point.place for one in died} == {"", *PLACES}
    assert sum(bool(one.committed and one.open) for one in died) >= len(kills) / 5


def test_no_acknowledged_answer_is_lost_or_paid_again(kills):
    """A committed answer is not asked for again, by the server's count."""
    for one in kills:
        assert not one.committed & set(one.asked_again), one.point


def test_with_the_real_litellm(tmp_path, unhurt, size):
    """The same, and the same bytes, over litellm's own connections: at every place, early and late, or by the clock."""
    points = [Point(place, count) for count in (3, 5) for place in PLACES if "output" not in place]
    points += [Point(seconds=0.05 * tenths) for tenths in range(4)]
    taken = points[: size(6, len(points))]
    runs = [killed(tmp_path / str(number), point, teacher="litellm") for number, point in enumerate(taken)]
    assert any(one.committed and one.open for one in runs)
    for one in runs:
        assert not one.committed & set(one.asked_again), one.point
        assert {question for question, count in (one.asked + one.asked_again).items() if count > 1} <= one.unknown
        assert one.outputs == unhurt.outputs, one.point


def test_killed_again_and_again(tmp_path, unhurt):
    """Three kills in one run: still nothing is asked for after it was committed."""
    one = killed(tmp_path / "run", *[Point("before an answer is read", 2)] * 3)
    assert not one.committed & set(one.asked_again)
    assert one.outputs == unhurt.outputs
