"""The summary of a finished run, computed from the ledger alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import fsum

from attrs import evolve

from rt_framework.data import REASON, Faults
from rt_framework.errors import ERRORS
from rt_framework.events import Handovers, Progress, Shift, Summary
from rt_framework.ledger import KEPT, WAITING, Ledger
from rt_framework.text import without_values

OUTCOMES = ("rewritten", "original", "dropped", "failed")

_REASONS = 50
"""Most reasons that a summary lists, with ``…`` for ranks and values, of which each sample has its own."""

_COUNTED = 10_000
"""Most distinct reasons that are counted apart; a reason first met after so many others is not a common one."""

REST = "other reasons"


def summarise(ledger: Ledger, progress: Progress, files: Sequence[str] = ()) -> Summary:
    """Count outcomes, kept versions, reasons and failures, and compare scores before and after.

    Args:
        ledger: holds the samples.
        progress: counts of this process, which become part of the summary.
        files: paths of the outputs.
    """
    outcomes: Counter[str] = Counter()
    versions: Counter[str] = Counter()
    drops: Counter[str] = Counter()
    for _, outcome, kept, reason in ledger.samples.outcomes():
        outcomes[outcome] += 1
        if outcome == "dropped":
            words = without_values(reason or "")
            drops[words if words in drops or len(drops) < _COUNTED else REST] += 1
        elif outcome in KEPT:
            versions[kept] += 1
    failures, errors = _failures(ledger)
    return Summary(
        total=sum(outcomes[name] for name in OUTCOMES),
        outcomes={name: outcomes[name] for name in OUTCOMES},
        versions=dict(versions.most_common()),
        drops=_most_common(drops),
        failures=dict(failures.most_common()),
        errors=errors,
        shifts=_shifts(ledger),
        progress=progress,
        files=tuple(files),
        waiting=outcomes[WAITING],
        handovers=tuple(Handovers(*counts) for counts in ledger.calls.handovers.counts()),
    )


def with_unread(summary: Summary, faults: Faults) -> Summary:
    """Return a summary that also counts the rows that were left out because they cannot be read, as dropped."""
    if not faults.count:
        return summary
    return evolve(
        summary,
        total=summary.total + faults.count,
        outcomes={**summary.outcomes, "dropped": summary.outcomes["dropped"] + faults.count},
        drops={**faults.reasons(), **summary.drops},
        unreadable=faults.count,
    )


def unread_in_words(drops: Mapping[str, int]) -> str:
    """Return the reasons of rows that were left out because they cannot be read, with their counts, in one line."""
    return "; ".join(f"{count:,} {reason}" for reason, count in drops.items() if reason.startswith(REASON))


def _failures(ledger: Ledger) -> tuple[Counter[str], int]:
    """Return the failures by kind, and the number of samples that met an error."""
    failures: Counter[str] = Counter()
    errors, last = 0, -1
    for row, kind in ledger.samples.failures():
        failures[kind] += 1
        if kind in ERRORS and row != last:
            errors, last = errors + 1, row
    return failures, errors


def _most_common(drops: Counter[str]) -> Mapping[str, int]:
    """Return the counts of the most common reasons, and of all others together."""
    rest = drops.pop(REST, 0)
    shown = dict(drops.most_common(_REASONS))
    rest += drops.total() - sum(shown.values())
    return {**shown, REST: rest} if rest else shown


class _Sum:
    """The exact sum of any number of floats, as :func:`math.fsum` gives it, kept as parts that do not overlap."""

    def __init__(self) -> None:
        self.count = 0
        self._parts: list[float] = []

    def add(self, value: float) -> None:
        """Add one more number to the sum."""
        self.count += 1
        parts = []
        for part in self._parts:
            large, small = (value, part) if abs(value) >= abs(part) else (part, value)
            value = large + small
            lost = small - (value - large)
            if lost:
                parts.append(lost)
        self._parts = [*parts, value]

    @property
    def mean(self) -> float:
        """Mean of the numbers: their sum, rounded once, divided by their count."""
        return fsum(self._parts) / self.count


def _shifts(ledger: Ledger) -> tuple[Shift, ...]:
    """Return mean scores before and after, over the kept samples whose original and kept version both have a number."""
    sums: dict[str, tuple[_Sum, _Sum]] = defaultdict(lambda: (_Sum(), _Sum()))
    for metric, *values in ledger.samples.shifts():
        for own, value in zip(sums[metric], values, strict=True):
            own.add(value)
    return tuple(Shift(metric, old.mean, new.mean, old.count) for metric, (old, new) in sorted(sums.items()))
