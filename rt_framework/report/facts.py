"""Words and tables of the page, computed from the survey: nothing here knows of HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import yaml
from attrs import frozen

from rt_framework.kit.places import in_words
from rt_framework.kit.spread import Spread, auc
from rt_framework.ledger import KEPT
from rt_framework.report.controls import matched, random_like
from rt_framework.report.proved import Proved, proved
from rt_framework.report.survey import Survey
from rt_framework.report.teacher import bill_heads, bill_rows, failure_rows, handover_rows
from rt_framework.report.texts import fit
from rt_framework.results import Bill, FinishedRun
from rt_framework.rundir import fallbacks_in_words, origins_in_words, review_lines, teachers_in, unread_in_words
from rt_framework.terminal import VERSION_WORDS, money

_TELLS = 0.75
"""Least AUC at which the page warns that length or echo alone explains a decision; it also warns at 0.25 and below."""

Rows = tuple[tuple[str, ...], ...]
"""Rows of a table; the first cell of each row names the thing that the other cells describe."""


@frozen
class Facts:
    """Content of the page without its samples."""

    title: str
    sentence: str
    cautions: tuple[str, ...]
    ran: Rows
    pipeline: str
    outcomes: Rows
    reasons: Rows
    shifts: Rows
    explained: Rows
    controls: Rows
    controls_note: str
    bill_heads: tuple[str, ...]
    bills: Rows
    failures: Rows
    handovers: Rows
    money: str
    close: Rows
    noise: float
    proved: Proved


@frozen
class Explained:
    """Measures of how far length alone, or echo alone, explains a decision."""

    decision: str
    count: int
    won: int
    """Number of choices that the rewrite won; in the line about all samples, the number of those kept."""
    longer: float | None
    """Share of the choices between responses of different length that the longer one won."""
    auc: float | None
    """AUC of a rewrite's extra length as a predictor of its winning, or of a response's length of its being kept."""
    echo: float | None
    """The same AUC of echo, over the decisions of which the echo is known."""


def facts_of(run: FinishedRun, survey: Survey, title: str) -> Facts:
    """Return everything that the page says about a run, except its samples."""
    cost, manifest, about, reviews = run.cost, run.manifest, proved(run), review_lines(run.review_counts)
    spent = money(cost.nano_dollars, cost.priced)
    explained = tuple(_explained(survey))
    return Facts(
        title=fit(title),
        sentence=_sentence(survey, spent, cost.bills),
        cautions=(
            *about.cautions,
            *_left_out(manifest["summary"]),
            *_cautions(cost.doubtful, survey, explained),
            *(fit(f"{told}.") for told in reviews[1:]),
        ),
        ran=(*_ran(manifest), *(("reviews", fit(told)) for told in reviews[:1])),
        pipeline=_yaml(manifest["config"].get("pipeline", {})),
        outcomes=tuple(_outcomes(survey)),
        reasons=_shares(Counter(f"{line.outcome}: {line.why}" for line in survey.lines if line.why), survey.total),
        shifts=tuple(_shifts(survey)),
        explained=tuple(map(_cells, explained)),
        controls=tuple(_controls(survey)),
        controls_note=_controls_note(survey),
        bill_heads=bill_heads(cost),
        bills=bill_rows(cost),
        failures=failure_rows(survey.failures),
        handovers=handover_rows(manifest["summary"]),
        money=_money(manifest, spent, run.efforts),
        close=tuple((fit(stage), f"{count:,}") for stage, count in survey.doubts.items()),
        noise=survey.noise,
        proved=about,
    )


def version_words(name: str) -> str:
    """Return the name of a version in plain words."""
    return VERSION_WORDS.get(name, fit(name))


# --- in words ---------------------------------------------------------------------------------


def _sentence(survey: Survey, spent: str, paid: Sequence[Bill]) -> str:
    counts = Counter(line.outcome for line in survey.lines)
    parts = [f"{survey.total:,} samples: {counts['rewritten']:,} rewritten, {counts['original']:,} kept as they were"]
    parts += [f"{counts[name]:,} {name}" for name in ("dropped", "failed", "waiting") if counts[name]]
    calls = sum(bill.calls for bill in paid)
    cost = f" {calls:,} questions to the teacher, {spent}." if calls else ""
    return f"{', '.join(parts)}.{cost}"


def _left_out(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield a warning on rows that are no samples, with the reasons."""
    if summary.get("unreadable"):
        count, reasons = summary["unreadable"], unread_in_words(summary["drops"])
        yield fit(f"Rows of the data that were left out, and are in no other number here: {count:,}; {reasons}.")


def _cautions(doubtful: int, survey: Survey, explained: Sequence[Explained]) -> Iterator[str]:
    """Yield the warnings that a reader should not overlook."""
    for entry in explained:
        for what, found in (("length", entry.auc), ("echo", entry.echo)):
            if found is not None and not 1 - _TELLS < found < _TELLS:
                share = f"{max(found, 1 - found):.0%}"
                yield (
                    f"In '{entry.decision}', {what} alone separates {share} of the pairs of a winner and a loser "
                    f"(AUC {found:.2f}): train on the {what}-matched control too before you credit the score."
                )
        if entry.longer is not None and entry.longer >= _TELLS:
            yield f"The longer response won {entry.longer:.1%} of the {entry.count:,} choices in '{entry.decision}'."
    if survey.doubts:
        yield f"{sum(survey.doubts.values()):,} decisions lie within the numeric noise of the student's losses."
    if survey.unscored:
        yield (
            f"Samples without a score that a stage asked for: {survey.unscored:,}; "
            "a missing score wins no choice and passes no gate."
        )
    if doubtful:
        yield (
            f"{doubtful:,} questions were under way when a run was killed: they may have been billed without an answer."
        )


def _money(manifest: Mapping[str, Any], spent: str, runs: Sequence[Mapping[str, Any]]) -> str:
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


# --- what was run -----------------------------------------------------------------------------


def _parts(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the teachers and the student of a config, by the names of their frozen facts."""
    for name, teacher in teachers_in(config).items():
        yield "teacher" if name == "teacher" else f"teacher {name}", teacher["part"]
    yield "student", config.get("student")


def _ran(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    config, frozen_facts = manifest["config"], manifest["frozen"]
    data = frozen_facts.get("data", {})
    yield "data", f"{config['data']['path']}, {data.get('shape', '?')} columns, content {str(data.get('content'))[:12]}"
    for name, part in _parts(config):
        if name in frozen_facts:
            yield name, f"{_short(part)} — {frozen_facts[name]}"
    if fallbacks := fallbacks_in_words(config):
        yield "fallbacks", fallbacks
    if manifest.get("places"):
        yield "teacher asked at", fit(in_words(manifest["places"]))
    scoring = frozen_facts.get("scoring", {})
    if scoring:
        most = scoring.get("max_tokens") or "the model's limit of"
        yield "scoring", f"preset {scoring.get('preset')}, template {scoring.get('template')}, {most} tokens at most"
    for path in manifest.get("forward_paths", ()):
        yield "forward path", path
    if origins := origins_in_words(manifest):
        yield "plugins", fit(origins)
    yield "versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items() if version)


def _short(part: Any) -> str:
    """Return a plugin and its options, on one line."""
    return _yaml(part, flow=True).removesuffix(": null")


def _yaml(value: Any, flow: bool | None = False) -> str:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=1000)
    return fit(text).strip().removeprefix("{").removesuffix("}") if flow else fit(text).strip()


# --- tables -----------------------------------------------------------------------------------


def _shares(counts: Counter[str], total: int) -> Rows:
    return tuple((name, f"{count:,}", f"{count / total:.1%}") for name, count in counts.most_common(50))


def _outcomes(survey: Survey) -> Iterator[tuple[str, ...]]:
    kept = Counter(line.kept for line in survey.lines if line.outcome in KEPT)
    others = Counter(line.outcome for line in survey.lines if line.outcome not in KEPT)
    named = Counter({f"kept: {version_words(name)}": count for name, count in kept.items()})
    yield from _shares(named + others, survey.total)


def _shifts(survey: Survey) -> Iterator[tuple[str, ...]]:
    """Yield means and medians before and after, over the kept samples that have both numbers."""
    for metric in survey.metrics:
        lines = [
            line for line in survey.lines if line.outcome in KEPT and metric in line.before and metric in line.after
        ]
        before = Spread.of([line.before[metric] for line in lines])
        after = Spread.of([line.after[metric] for line in lines])
        if before and after:
            numbers = (before.mean, after.mean, before.median, after.median)
            yield (metric, f"{before.count:,}", *(f"{number:.4g}" for number in numbers))


def _explained(survey: Survey) -> Iterator[Explained]:
    for stage in dict.fromkeys(choice.stage for choice in survey.choices):
        choices = [choice for choice in survey.choices if choice.stage == stage]
        uneven = [choice for choice in choices if choice.longer]
        longer = sum((choice.longer > 0) is choice.rewrite for choice in uneven)
        won, lost = ([choice for choice in choices if choice.rewrite is rewrite] for rewrite in (True, False))
        yield Explained(
            fit(stage),
            len(choices),
            len(won),
            longer / len(uneven) if uneven else None,
            auc([choice.longer for choice in lost], [choice.longer for choice in won]),
            _auc((choice.echoes for choice in lost), (choice.echoes for choice in won)),
        )
    kept = [line for line in survey.lines if line.outcome in KEPT]
    others = [line for line in survey.lines if line.outcome not in KEPT]
    if kept and others:
        lengths = auc([line.length_after for line in others], [line.length_after for line in kept])
        echoes = _auc((line.echo_after for line in others), (line.echo_after for line in kept))
        yield Explained("kept or not", survey.total, len(kept), None, lengths, echoes)


def _auc(smaller: Iterable[float | None], larger: Iterable[float | None]) -> float | None:
    """Return the AUC of the numbers that are known."""
    known = ([number for number in numbers if number is not None] for numbers in (smaller, larger))
    return auc(*known)


def _cells(explained: Explained) -> tuple[str, ...]:
    share = "–" if explained.longer is None else f"{explained.longer:.1%}"
    aucs = ("–" if found is None else f"{found:.3f}" for found in (explained.auc, explained.echo))
    return (explained.decision, f"{explained.count:,}", f"{explained.won:,}", share, *aucs)


def _controls(survey: Survey) -> Iterator[tuple[str, ...]]:
    """Yield lengths, echo and scores of the original texts: of all samples, of those kept, of three control subsets."""
    kept = _kept(survey)
    if not 0 < len(kept) < survey.total:
        return
    ids = [line.id for line in survey.lines]
    lengths = [line.length_before for line in survey.lines]
    echoes = [round(1000 * (line.echo_before or 0)) for line in survey.lines]
    groups: Mapping[str, Sequence[int]] = {
        "all": range(survey.total),
        "kept": kept,
        "random control": random_like(ids, len(kept)),
        "length-matched control": matched(ids, lengths, kept)[0],
        "echo-matched control": matched(ids, echoes, kept)[0],
    }
    for name, members in groups.items():
        lines = [survey.lines[position] for position in members]
        scores = ([line.before[metric] for line in lines if metric in line.before] for metric in survey.metrics)
        length = Spread.of([line.length_before for line in lines])
        echo = Spread.of([line.echo_before for line in lines if line.echo_before is not None])
        shown = (f"{spread.mean:.4g}" if spread else "–" for spread in (echo, *map(Spread.of, scores)))
        yield name, f"{len(lines):,}", f"{length.mean:,.0f}" if length else "–", *shown


def _kept(survey: Survey) -> list[int]:
    return [position for position, line in enumerate(survey.lines) if line.outcome in KEPT]


def _controls_note(survey: Survey) -> str:
    kept = _kept(survey)
    if len(kept) == survey.total:
        return (
            "Every sample was kept, so there is no selection to compare with a control: the run only chose between "
            "versions of a sample."
        )
    if not kept:
        return "No sample was kept."
    outside = survey.total - len(kept)
    scarce = max(0, len(kept) - outside)
    note = f" Only {outside:,} samples were not kept, so {scarce:,} matched samples are kept ones." if scarce else ""
    return (
        "Scores and lengths are those of the original texts, because the selection is compared, not the rewriting."
        f"{note}"
    )
