"""Tables of the page on the questions to the teacher: what they cost, and the rewrites that failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from rt_framework.errors import KINDS
from rt_framework.report.texts import fit
from rt_framework.results import Bill, Cost
from rt_framework.terminal.printing import dollars


def bill_rows(cost: Cost) -> tuple[tuple[str, ...], ...]:
    """Return a row for each reflection, with the teacher behind its name where several teachers were asked."""
    several = len({bill.teacher for bill in cost.bills}) > 1
    shown = _shown_columns(cost.bills)
    return tuple(
        (
            fit(f"{bill.reflection} by {bill.teacher}" if several else bill.reflection),
            *(f"{of(bill):,}" for of in shown.values()),
            "unknown" if not (cost.priced or bill.nano_dollars) else dollars(bill.nano_dollars),
            *((dollars(bill.charge.saved),) if cost.saved else ()),
        )
        for bill in cost.bills
    )


_COLUMNS: Mapping[str, Callable[[Bill], int]] = {
    "questions": lambda bill: bill.calls,
    "requests": lambda bill: bill.requests,
    "answered": lambda bill: bill.answered,
    "prompt tokens": lambda bill: bill.usage.prompt_tokens,
    "read from a cache": lambda bill: bill.usage.cached_tokens,
    "answer tokens": lambda bill: bill.usage.completion_tokens,
    "of them reasoning": lambda bill: bill.usage.reasoning_tokens,
}
_SPECIAL = ("read from a cache", "of them reasoning")


def _shown_columns(bills: Sequence[Bill]) -> Mapping[str, Callable[[Bill], int]]:
    """Return the columns of counts; those that not every provider has are left out where all are 0."""
    return {name: of for name, of in _COLUMNS.items() if name not in _SPECIAL or any(map(of, bills))}


def bill_heads(cost: Cost) -> tuple[str, ...]:
    """Return the heads of the columns."""
    return ("reflection", *_shown_columns(cost.bills), "cost", *(("saved",) if cost.saved else ()))


def failure_rows(failures: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """Return a row for each kind of failure, with its number and its meaning."""
    return tuple((kind, f"{count:,}", KINDS[kind].meaning if kind in KINDS else "") for kind, count in failures.items())


def handover_rows(summary: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Return a row for each kind of failure after which questions went from a teacher to its fallback."""
    return tuple(
        (f"{one['teacher']} → {one['fallback']}", one["kind"], f"{one['questions']:,}", _meaning(one["kind"]))
        for one in summary.get("handovers", ())
    )


def _meaning(kind: str) -> str:
    return KINDS[kind].meaning if kind in KINDS else ""


def money_in_words(manifest: Mapping[str, Any], spent: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the cost and the effort in words."""
    progress = manifest["summary"]["progress"]
    teacher, student = progress["teacher"], progress["student"]
    return (
        f"Cost, with calls that may have been billed: {spent}. {_runs(runs)}"
        f"The last run sent {teacher['calls']:,} requests, {teacher['retries']:,} of them retries, "
        f"and found {teacher['reused']:,} answers and {student['reused']:,} losses in the ledger."
    )


def _runs(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence on all runs of the directory; empty if they are not recorded, as after a merge of shards."""
    if not runs:
        return ""
    took = timedelta(seconds=round(sum(run["seconds"] for run in runs)))
    requests, tokens = (sum(run[name] for run in runs) for name in ("requests", "student_tokens"))
    how_many = "One run took" if len(runs) == 1 else f"{len(runs):,} runs took"
    return f"{how_many} {took}, killed runs not counted: {requests:,} requests and {tokens:,} student tokens. "
