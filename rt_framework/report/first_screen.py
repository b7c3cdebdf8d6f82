"""The first screen of the page: what was run, whether to train on the result, the next command, five numbers."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from attrs import frozen

from rt_framework.kit.spread import Spread
from rt_framework.ledger import KEPT
from rt_framework.report import ran
from rt_framework.report.evidence import CANNED, DIRECTIONS, UNSCORED, Evidence
from rt_framework.report.survey import Survey
from rt_framework.report.texts import fit
from rt_framework.report.verdict import Verdict, verdict_of
from rt_framework.results import FinishedRun
from rt_framework.rundir import review_lines, unread_in_words
from rt_framework.terminal.printing import money
from rt_framework.text import number_of

Tone = Literal["better", "worse", "neutral"]


@frozen
class Tile:
    """One of the five numbers."""

    name: str
    value: str
    change: str
    """The change, or what the number is made of; empty if there is nothing to say."""
    tone: Tone = "neutral"


@frozen
class FirstScreen:
    """Content of the first screen."""

    title: str
    is_pilot: bool
    brief: tuple[tuple[str, str], ...]
    """What was run, in a few lines: name and value."""
    verdict: Verdict
    todo: tuple[str, ...]
    """What to do next in words, and the command."""
    tiles: tuple[Tile, ...]
    notes: tuple[str, ...]
    """What else a reader should know of the numbers."""


def first_screen(run: FinishedRun, evidence: Evidence) -> FirstScreen:
    """Return the first screen of a run."""
    cost, survey, verdict = run.cost, evidence.survey, verdict_of(evidence)
    return FirstScreen(
        title=fit(run.path.resolve().name),
        is_pilot=run.is_pilot,
        brief=tuple(ran.briefly(run, money(cost.nano_dollars, cost.priced))),
        verdict=verdict,
        todo=tuple(map(fit, _next(run, survey, verdict))),
        tiles=tuple(_tiles(survey)),
        notes=(
            *_notes(run.manifest["summary"], cost.doubtful),
            *(fit(f"{line}.") for line in review_lines(run.review_counts)),
        ),
    )


def _tiles(survey: Survey) -> Iterator[Tile]:
    """Yield the outcome in five numbers: samples kept, two scores, the length of responses, failures.

    Scores and lengths are medians: of the data as it came in, and of what was kept.
    """
    kept = survey.where(lambda line: line.outcome in KEPT)
    rewritten = sum(line.outcome == "rewritten" for line in kept)
    yield Tile(
        "kept", f"{len(kept):,} of {survey.total:,}", f"{rewritten:,} rewritten, {len(kept) - rewritten:,} as they were"
    )
    for metric in sorted(survey.metrics, key=lambda name: (name not in DIRECTIONS, name))[:2]:
        before = Spread.of(line.before[metric] for line in survey.lines if metric in line.before)
        yield _score(metric, before, Spread.of(line.after[metric] for line in kept if metric in line.after))
    before = Spread.of(line.length_before for line in survey.lines)
    after = Spread.of(line.length_after for line in kept)
    if before and after:
        factor = f"× {after.median / before.median:.2f}, median" if before.median else "median"
        yield Tile("characters of a response", f"{before.median:,.0f} → {after.median:,.0f}", factor)
    yield _failures(survey)


def _score(metric: str, before: Spread | None, after: Spread | None) -> Tile:
    if not before or not after:
        return Tile(metric, "–", "not measured before and after")
    change = after.median - before.median
    sign = DIRECTIONS.get(metric, 0)
    words = {1: "higher is better", -1: "lower is better", 0: "median"}[sign]
    tone: Tone = "neutral" if not sign or not change else "better" if sign * change > 0 else "worse"
    return Tile(
        f"{metric}, median",
        f"{before.median:.3f} → {after.median:.3f}",
        f"{change:+.3f}; {words}".replace("-", "−", change < 0),
        tone,
    )


def _failures(survey: Survey) -> Tile:
    """Return the number of rewrites that failed, and of samples that failed as a whole."""
    failed = sum(line.outcome == "failed" for line in survey.lines)
    rewrites = sum(survey.failures.values())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in [*survey.failures.items()][:2])
    parts = [kinds] if kinds else []
    parts += [f"{number_of(failed, 'sample')} failed"] if failed else []
    return Tile(
        "failures", f"{rewrites:,}", "; ".join(parts) or "no rewrite and no sample", "worse" if failed else "neutral"
    )


def _next(run: FinishedRun, survey: Survey, verdict: Verdict) -> tuple[str, str]:
    """Return what to do next in words, and the command; the command is one that can be pasted."""
    where = shlex.quote(str(run.path))
    failed = next((line.row for line in survey.lines if line.failed), 0)
    match verdict.level:
        case "unfinished":
            return "Finish the run, with its config:", f"rt run CONFIG --run-dir {where}"
        case "unfit" if any(line.outcome == "failed" for line in survey.lines):
            return (
                "Ask again for what failed, after a look at why:",
                f"rt explain {where} {failed}\nrt retry CONFIG --run-dir {where} --kind KIND",
            )
        case "unfit" if survey.repeated >= CANNED:
            begins = shlex.quote(" ".join(survey.passages[0].text.split()[:5]))
            return "Find the samples that have it, and change the prompt:", f"rt samples {where} --search {begins}"
        case "unfit" if sum(survey.unscored.values()) >= UNSCORED * survey.total:
            status = shlex.quote(next(iter(survey.unscored)))
            return "Find the samples that lack a score:", f"rt samples {where} --status {status}"
        case "unchanged" | "unfit":
            return "Read why, sample by sample:", f"rt explain {where} {_rewritten(survey)}"
        case "proved" | "worse" | "unseen":
            return "Write it for a trainer:", f"rt export {where} --pack trl --out FOLDER"
    arms = f"rt prove {where} --model MODEL --held-out NAME=FILE --arms {_arms(survey)}"
    if any(line.outcome == "rewritten" for line in survey.lines) and not run.reviews:
        return "Read some of the rewrites, then train small on them and on controls:", f"rt review {where}\n{arms}"
    return "Train small on it and on its controls, and compare:", arms


def _arms(survey: Survey) -> str:
    """Return the arms of a proof that this run has."""
    arms = ["kept"]
    if any(line.outcome == "rewritten" for line in survey.lines):
        arms += ["original", "random-version"]
    if any(line.outcome not in KEPT for line in survey.lines):
        arms += ["random", "length-matched"]
    return ",".join(arms)


def _rewritten(survey: Survey) -> int:
    """Return the row of a rewritten sample if there is one, as an example."""
    return next((line.row for line in survey.lines if line.outcome == "rewritten"), survey.lines[0].row)


def _notes(summary: Mapping[str, Any], doubtful: int) -> Iterator[str]:
    """Yield notes on rows that are no samples, and on calls that may have been billed without an answer."""
    if summary.get("unreadable"):
        count, reasons = summary["unreadable"], unread_in_words(summary["drops"])
        yield fit(f"Rows of the data that were left out, and are in no other number here: {count:,}; {reasons}.")
    if doubtful:
        yield (f"{number_of(doubtful, 'question')} may have been billed without an answer: a run was killed meanwhile.")
