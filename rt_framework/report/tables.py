"""Tables of the page about its samples: outcomes, scores, what explains the decisions, controls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rt_framework.kit.compact import LazySequence
from rt_framework.kit.spread import Spread
from rt_framework.ledger import KEPT
from rt_framework.report.controls import matched, random_like
from rt_framework.report.explained import Explained
from rt_framework.report.lines import SampleLine
from rt_framework.report.survey import Survey
from rt_framework.report.texts import fit
from rt_framework.terminal.console import VERSION_WORDS

Rows = tuple[tuple[str, ...], ...]
"""Rows of a table; the first cell of each row names the thing that the other cells describe."""


def version_words(name: str) -> str:
    """Return the name of a version in plain words."""
    return VERSION_WORDS.get(name, fit(name))


def shares(counts: Counter[str], total: int) -> Rows:
    """Return a row for each name, with its number and its share of the total; the 50 most common."""
    return tuple((name, f"{count:,}", f"{count / total:.1%}") for name, count in counts.most_common(50))


def outcomes(survey: Survey) -> Iterator[tuple[str, ...]]:
    """Yield a row for each outcome; kept samples are counted by version."""
    kept = Counter(line.kept for line in survey.lines if line.outcome in KEPT)
    others = Counter(line.outcome for line in survey.lines if line.outcome not in KEPT)
    named = Counter({f"kept: {version_words(name)}": count for name, count in kept.items()})
    yield from shares(named + others, survey.total)


def shifts(survey: Survey) -> Iterator[tuple[str, ...]]:
    """Yield means and medians before and after, over the kept samples that have both numbers."""
    kept = survey.where(lambda line: line.outcome in KEPT)
    for metric in survey.metrics:
        both = [
            (line.before[metric], line.after[metric]) for line in kept if metric in line.before and metric in line.after
        ]
        before, after = Spread.of(old for old, _ in both), Spread.of(new for _, new in both)
        if before and after:
            numbers = (before.mean, after.mean, before.median, after.median)
            yield (metric, f"{before.count:,}", *(f"{number:.4g}" for number in numbers))


def cells(explained: Explained) -> tuple[str, ...]:
    """Return the row of a decision in the table of what explains it."""
    share = "–" if explained.longer is None else f"{explained.longer:.0%}"
    aucs = ("–" if found is None else f"{found:.3f}" for found in (explained.auc, explained.echo))
    return (explained.decision, f"{explained.count:,}", f"{explained.won:,}", share, *aucs)


def controls(survey: Survey) -> Iterator[tuple[str, ...]]:
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
        lines = _lines(survey, members)
        scores = ([line.before[metric] for line in lines if metric in line.before] for metric in survey.metrics)
        length = Spread.of([line.length_before for line in lines])
        echo = Spread.of([line.echo_before for line in lines if line.echo_before is not None])
        shown = (f"{spread.mean:.4g}" if spread else "–" for spread in (echo, *map(Spread.of, scores)))
        yield name, f"{len(lines):,}", f"{length.mean:,.0f}" if length else "–", *shown


def _lines(survey: Survey, places: Sequence[int]) -> Sequence[SampleLine]:
    return LazySequence(len(places), lambda at: survey.lines[places[at]])


def _kept(survey: Survey) -> list[int]:
    return [position for position, line in enumerate(survey.lines) if line.outcome in KEPT]


def controls_note(survey: Survey) -> str:
    """Return what a reader should know of the table of controls."""
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
