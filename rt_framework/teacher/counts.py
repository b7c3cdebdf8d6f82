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
        self.all_reasoning = 0
        """Answers without text, since reasoning took up all tokens."""
        self.tokens: Counter[str] = Counter()
        """Tokens of the answers: all of them, and those of reasoning, as ``reasoning``."""
        self.money: Counter[str] = Counter()
        """Nano-dollars: ``paid`` for the received answers, and ``saved`` by caches and batches."""
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
        self.all_reasoning += reply.all_reasoning
        self.tokens.update(all=reply.usage.completion_tokens, reasoning=reply.usage.reasoning_tokens)
        self.money.update(paid=reply.nano_dollars, saved=0 if reply.charge is None else reply.charge.saved)
