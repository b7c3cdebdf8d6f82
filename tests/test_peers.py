"""The table of other scorers, without any of them."""

from __future__ import annotations

from benchmarks import peers
from benchmarks.measure import Rounds


def test_a_tool_that_is_not_here_says_how_to_have_it():
    """And the others are measured against the published procedure."""
    found = {name: Rounds([seconds]) for name, seconds in zip(peers.ours().lines, (3.0, 1.5), strict=True)}
    head, *rows = peers.table([peers.ours(), peers.datascorer(None), peers.vllm(None)], found)
    assert "speed, × published procedure" in head
    assert [row.split(" | ")[1] for row in rows] == ["1.00", "2.00"] + ["not here"] * 4
    assert "`ODA=ODA-DataScorer`" in rows[2]
    assert rows[5].endswith("| `make peers` |")
