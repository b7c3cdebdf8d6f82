"""The whole scoring chain with a fake student: gives the values that a metric would have in a run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rt_framework.config import Builder
from rt_framework.ledger import Ledger
from rt_framework.model import Pair
from rt_framework.plugin import Host
from rt_framework.protocols import Student
from rt_framework.scoring import Losses, Measured, PresetSpans, Scoring, preset
from rt_framework.testing.fakes import FakeStudent


@cache
def frame(name: str = "chat") -> PresetSpans:
    """Return the frame of a preset with the preset's own template."""
    chosen = preset(name)
    template = Builder(Host(only=()))("templates", chosen.template)
    return PresetSpans(chosen, template, chosen.limit(chosen.template))


def measure(
    where: Path, pairs: Sequence[Pair], metrics: Mapping[str, Any], student: Student | None = None
) -> list[Measured]:
    """Return losses and scores of *pairs* by these metric objects, as a run computes them.

    Args:
        where: an empty directory, for the ledger.
        pairs: pairs to score.
        metrics: metric objects by name.
        student: the fake student when left out.

    Raises:
        PluginError: a metric raises.
    """
    return asyncio.run(_measure(where, pairs, metrics, student or FakeStudent()))


async def _measure(where: Path, pairs: Sequence[Pair], metrics: Mapping[str, Any], student: Student) -> list[Measured]:
    executor = Builder(Host(only=()))("executors", "local")
    executor.start(lambda: student)
    ledger = Ledger.writing(where / "ledger.sqlite")
    losses = Losses(student, executor, ledger, None)
    scoring = Scoring(metrics.__getitem__, frame(), {"": losses}, range_binds=True)
    try:
        await scoring.fit(list(metrics), lambda: pairs)
        return await scoring.measure(pairs, list(metrics))
    finally:
        await losses.close()
        executor.close()
        ledger.close()
