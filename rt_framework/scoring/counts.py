"""Counters of a run's forward passes."""

from __future__ import annotations

from rt_framework.events import StudentCounts


class StudentCounter:
    """Plain counters of forward passes and losses of one process; nothing depends on their values."""

    def __init__(self) -> None:
        self.tokens = 0
        self.passes = 0
        self.reused = 0
        """Losses that were found in the ledger."""

    def passed(self, tokens: int) -> None:
        """Count a forward pass that was fed so many tokens."""
        self.passes += 1
        self.tokens += tokens

    def counts(self) -> StudentCounts:
        """Return the counts as reporters are told them."""
        return StudentCounts(self.tokens, self.passes, self.reused)
