"""Facts of a run in the form that MLflow stores: params, tags, metrics and a report."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rt_framework.events import Progress, RunStarted, Summary
from rt_framework.text import number_of, shown, without_secrets

_MOST = 5000
"""Characters of a param or tag; MLflow takes 6000."""

Metrics = dict[str, float]
"""Values by name."""


def clean(value: object) -> str:
    """*value* as text that can be stored: no secret of the environment, no control character, not too long."""
    text = shown(without_secrets(str(value)))
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


def params(event: RunStarted) -> dict[str, str]:
    """Return the facts that shape the result: the rows, the config without its limits, and the frozen facts."""
    asked = {key: value for key, value in event.config.items() if key != "limits"}
    facts = {f"facts.{key}": value for key, value in _flat(event.facts).items()}
    found = {"rows": event.total, **_flat(asked), **facts}
    return {key: clean(value) for key, value in found.items() if value is not None}


def identity(event: RunStarted) -> dict[str, str]:
    """Tags that say which run of which directory this is: the same ones mean the same MLflow run.

    Limits do not count, so that a run goes on under a larger budget. The number of rows does: a pilot is another run.
    """
    asked = {"rows": event.total, **{key: value for key, value in event.config.items() if key != "limits"}}
    text = json.dumps(asked, sort_keys=True, default=str)
    return {"rt.run_id": event.run_id, "rt.config": hashlib.sha256(text.encode()).hexdigest()[:16]}


def tags(event: RunStarted) -> dict[str, str]:
    """Return the facts that may change between two runs of a directory: its path, its limits, and the notes."""
    where = str(Path(event.run_dir).absolute())
    told = {"mlflow.note.content": "\n\n".join(event.notes), "rt.run_dir": where, "rt.end": "not yet"}
    limits = _flat({"limits": event.config.get("limits", {})})
    return {key: clean(value) for key, value in (told | limits).items() if value is not None}


def progress(event: Progress) -> Metrics:
    """The counts of this process so far, and what the directory cost in all."""
    samples, teacher = event.samples, event.teacher
    kept = samples.outcomes.get("rewritten", 0) + samples.outcomes.get("original", 0)
    shares = {} if not samples.finished else {"samples/kept_share": kept / samples.finished}
    return {
        "samples/finished": samples.finished,
        **{f"samples/{outcome}": count for outcome, count in samples.outcomes.items()},
        **shares,
        **{f"choices/{winner}": count for winner, count in samples.decisions.items()},
        "teacher/calls": teacher.calls,
        "teacher/retries": teacher.retries,
        "teacher/reused_answers": teacher.reused,
        "teacher/tokens": teacher.tokens,
        "teacher/spent_usd": event.money.spent / 1e9,
        "student/tokens": event.student.tokens,
        "student/reused_losses": event.student.reused,
        "run/seconds": event.seconds,
        "run/share": samples.share,
    }


def account(summary: Summary) -> Metrics:
    """Return the results of the run; failures and scores are those of the whole directory."""
    scores = {
        f"scores/{named(shift.metric)}/{what}": value
        for shift in summary.shifts
        for what, value in (("before", shift.before), ("after", shift.after), ("samples", shift.samples))
    }
    return {
        **progress(summary.progress),
        **{f"samples/{outcome}": count for outcome, count in summary.outcomes.items()},
        **{f"kept/{named(version)}": count for version, count in summary.versions.items()},
        **failures(summary.failures),
        "samples/errors": summary.errors,
        **scores,
    }


def failures(kinds: Mapping[str, int]) -> Metrics:
    """Failures by kind."""
    return {f"failures/{named(kind)}": count for kind, count in kinds.items()}


def named(text: str) -> str:
    """*text* as a part of a metric's name: MLflow refuses most marks."""
    return re.sub(r"[^\w. -]", "_", text, flags=re.ASCII)[:200]


def report(summary: Summary) -> str:
    """The account as Markdown."""
    return "\n".join(shown(without_secrets(line)) for line in _report(summary))


def _report(summary: Summary) -> Iterator[str]:
    yield f"{number_of(summary.total, 'sample')}, ${summary.progress.money.spent / 1e9:.4f} spent in this run directory"
    for title, counts in (
        ("outcome", summary.outcomes),
        ("version kept", summary.versions),
        ("reason for dropping", summary.drops),
        ("failure", summary.failures),
    ):
        if counts:
            yield from ("", f"| {title} | count |", "|---|---:|")
            yield from (f"| {_cell(name)} | {count} |" for name, count in counts.items())
    if summary.shifts:
        yield from ("", "| metric | before | after | samples |", "|---|---:|---:|---:|")
        for one in summary.shifts:
            yield f"| {_cell(one.metric)} | {one.before:.4f} | {one.after:.4f} | {one.samples} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _flat(sections: Mapping[str, Any]) -> dict[str, str | None]:
    """Each section's keys as ``section.key``. What has one key is a plugin with its options, and stays together."""
    flat: dict[str, str | None] = {}
    for section, value in sections.items():
        if isinstance(value, Mapping) and len(value) != 1:
            flat |= {f"{section}.{key}": _text(one) for key, one in value.items()}
        else:
            flat[section] = _text(value)
    return {re.sub(r"[^\w. -]", "_", key): value for key, value in flat.items()}


def _text(value: object) -> str | None:
    """A plain value as a user would write it; ``None`` where there is nothing to say."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, options),) = value.items()
        if options is None or isinstance(options, str):
            return str(name) if options is None else f"{name}:{options}"
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str) if value not in ({}, [], ()) else None
