"""All of it together, as a user meets it."""

from __future__ import annotations

from tests.reliability.view import day
from tests.run_helpers import attempts, side

COUNT = 24


def test_the_same_command_takes_a_run_to_its_end(tmp_path):
    """Killed twice, rate-limited, out of budget: `rt run` again is all there is to know, and each time it says what
    happened; at most what was under way at a kill is paid twice.
    """
    (first, second, broke, end, again), bucket = day(tmp_path, "fake", 6, COUNT)
    assert [step.code for step in (first, second, broke, end, again)] == [137, 137, 6, 0, 0]
    assert bucket.rejected
    for step in (second, broke):
        assert "teacher calls under way when the last run was killed" in step.out
        assert "those still needed are asked again" in step.out
    assert "to continue, run again with a larger limits.budget_usd" in broke.out
    assert "answers from the ledger" in end.out
    assert "0 teacher calls sent" in again.out
    unknown = attempts(tmp_path / "runs" / "rt")["unknown", "interrupted_unknown"]
    assert end.billed <= 2 * COUNT + unknown
    assert again.billed == end.billed
    assert [line["row"] for line in side(tmp_path / "runs" / "rt")] == list(range(COUNT))
