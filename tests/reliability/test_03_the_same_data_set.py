"""Promise 3: the data set does not depend on crashes, with a deterministic teacher and student."""

from __future__ import annotations


def test_the_bytes_are_those_of_a_run_that_was_not_killed(kills, unhurt):
    """Kept and dropped samples and the side file."""
    for one in kills:
        assert one.outputs == unhurt.outputs, one.point
