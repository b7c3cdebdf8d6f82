"""What happened so far, counted in one place and sent to the reporters a few times a second."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from rt_framework.events import Progress
from rt_framework.host import Reporters
from rt_framework.model import Reply

_INTERVAL = 0.2
"""Seconds between two progress events."""


class Tally:
    """The counters of one process of a run."""

    def __init__(self, reporters: Reporters, total: int | None = None, steps: int = 1) -> None:
        self.reporters = reporters
        self.total = total
        self.steps = steps
        """Stages that each sample has to pass."""
        self.passed = 0
        self.decisions: Counter[str] = Counter()
        self.finished = 0
        self.calls = 0
        self.retries = 0
        self.reused_calls = 0
        self.teacher_tokens = 0
        self.nano_dollars = 0
        self.forward_tokens = 0
        self.forward_passes = 0
        self.reused_losses = 0
        self.scoring = 0
        """Waves of spans that the student is at work on."""
        self.outcomes: Counter[str] = Counter()
        self.held: Callable[[], str] = str
        """Says how the provider slows the calls, if it does."""
        self.spent: Callable[[], int] = int
        """Says what all runs of the directory paid or perhaps paid, in nano-dollars."""
        self._started = self.moved = time.monotonic()
        self._sent = 0.0

    def progress(self) -> Progress:
        """The counters as an event."""
        return Progress(
            finished=self.finished,
            total=self.total,
            calls=self.calls,
            retries=self.retries,
            reused_calls=self.reused_calls,
            teacher_tokens=self.teacher_tokens,
            nano_dollars=self.nano_dollars,
            forward_tokens=self.forward_tokens,
            reused_losses=self.reused_losses,
            outcomes=dict(self.outcomes),
            seconds=time.monotonic() - self._started,
            decisions=dict(self.decisions),
            held=self.held(),
            share=min(self.passed / (self.total * self.steps), 1.0) if self.total else 0.0,
            spent=self.spent(),
        )

    def answered(self, reply: Reply) -> None:
        """Count a paid answer."""
        self.nano_dollars += reply.nano_dollars
        self.teacher_tokens += reply.usage.completion_tokens
        self.changed()

    def changed(self) -> None:
        """Tell the reporters, unless they were told a moment ago."""
        now = self.moved = time.monotonic()
        if now - self._sent >= _INTERVAL:
            self._sent = now
            self.reporters.send("rt_progress", self.progress())
