"""Counters of a run's teacher calls."""

from __future__ import annotations

from collections import Counter

from rt_framework.model import Reply


class TeacherCounter:
    """Plain counters of the calls and answers of one process; nothing depends on their values."""

    def __init__(self) -> None:
        self.calls = 0
        self.retries = 0
        self.answered = 0
        self.tokens = 0
        self.paid = 0
        """Nano-dollars of the received answers."""
        self.reused: Counter[str] = Counter()
        """Answers that were found in the ledger, by stage."""
        self.to_fallback: Counter[str] = Counter()
        """Questions that went on to the teacher's fallback, by kind of failure."""

    def sent(self, calls: int, retries: int) -> None:
        """Count calls that go to the provider, and those of them that are retries."""
        self.calls += calls
        self.retries += retries

    def received(self, reply: Reply) -> None:
        """Count a paid answer."""
        self.answered += 1
        self.tokens += reply.usage.completion_tokens
        self.paid += reply.nano_dollars
