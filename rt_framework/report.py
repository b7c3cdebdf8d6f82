"""The account of a finished run, from the ledger alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import fsum

from rt_framework.errors import ERRORS
from rt_framework.events import Shift, Summary
from rt_framework.ledger import Ledger, Story
from rt_framework.model import ORIGINAL
from rt_framework.tally import Tally

OUTCOMES = ("rewritten", "original", "dropped", "failed")


def summarise(ledger: Ledger, tally: Tally, files: Sequence[str] = ()) -> Summary:
    """Count outcomes, kept versions, reasons and failures, and compare scores before and after."""
    outcomes: Counter[str] = Counter()
    versions: Counter[str] = Counter()
    drops: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    errors = 0
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for story in ledger.stories():
        outcomes[story.outcome] += 1
        kinds = {failure.kind for failure in story.sample.failures}
        failures.update(failure.kind for failure in story.sample.failures)
        errors += bool(kinds & ERRORS)
        if story.outcome == "dropped":
            drops[story.reason or ""] += 1
        elif story.outcome in ("rewritten", "original"):
            versions[story.sample.kept] += 1
            _compare(story, pairs)
    return Summary(
        total=outcomes.total(),
        outcomes={name: outcomes[name] for name in OUTCOMES},
        versions=dict(versions.most_common()),
        drops=dict(drops.most_common()),
        failures=dict(failures.most_common()),
        errors=errors,
        shifts=tuple(_shift(metric, values) for metric, values in sorted(pairs.items())),
        progress=tally.progress(),
        files=tuple(files),
    )


def _compare(story: Story, pairs: dict[str, list[tuple[float, float]]]) -> None:
    """Note metrics known for both the original and the kept version of a kept sample."""
    before = story.sample.scores.get(ORIGINAL, {})
    after = story.sample.scores.get(story.sample.kept, {})
    for metric in before.keys() & after.keys():
        old, new = before[metric].value, after[metric].value
        if old is not None and new is not None:
            pairs[metric].append((old, new))


def _shift(metric: str, values: list[tuple[float, float]]) -> Shift:
    count = len(values)
    before, after = (fsum(column) / count for column in zip(*values, strict=True))
    return Shift(metric, before, after, count)
