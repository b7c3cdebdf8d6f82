"""A proof on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from statistics import fmean

from rich.console import Console
from rich.text import Text

from rt_framework.kit.proofs import AnswerCounts, Comparison, HeldOut, Proof, described, verdict
from rt_framework.terminal.printing import line, table
from rt_framework.text import number_of
from rt_prove.arms import ARMS, Arms
from rt_prove.held_out import HeldOutSet
from rt_prove.training import Tokens

LIMITS = """\
- differences are arm minus control, paired by prompt; the intervals of 95 % count prompts and seeds as random, and are
  not corrected for the number of comparisons; the best learning rate of an arm was found on the same prompts
- a loss favours its own style: read a set in the style of the originals beside one of strong answers
- this is what one student learned from one data set"""


JUDGED = "- a judge may prefer longer answers: look at how often these won"
"""A further limit where answers were judged."""


def show_arms(
    console: Console,
    arms: Arms,
    tokens: Mapping[str, Tokens],
    sets: Sequence[HeldOutSet],
    prompts: Mapping[str, Sequence[object]],
) -> None:
    """Print what will be trained on, what it is measured on, and how many prompts of each set are answered."""
    rows = (
        (arm.name, len(arm.pairs), arm.rewritten, tokens[arm.name].all, tokens[arm.name].target, ARMS[arm.name])
        for arm in arms.made
    )
    console.print(table("Arms", ("arm", "samples", "rewrites", "tokens", "of responses", "holds"), rows, (1, 2, 3, 4)))
    for arm in arms.made:
        cut = tokens[arm.name].cut
        for note in filter(None, (arm.note, f"{cut} samples are longer than --max-length, and cut off" if cut else "")):
            console.print(line(f"{arm.name}: {note}"))
    for name, why in arms.left_out.items():
        console.print(line(f"{name} is left out: {why}"))
    for one in sets:
        gone = f"; removed, because they also stand in an arm: {one.removed}" if one.removed else ""
        answered = f"; {len(prompts[one.name])} different ones are answered" if prompts else ""
        console.print(line(f"held out: {one.name}: {number_of(len(one.pairs), 'prompt')}{answered}{gone}"))


def duration(seconds: float) -> str:
    """Return a time in words."""
    return str(timedelta(seconds=round(seconds)))


def show_proof(console: Console, proof: Proof) -> None:
    """Print the means of every cell, the comparisons and their limits."""
    names = [outcome.name for outcome in proof.measured]
    head = ("arm", "learning rate", "seed", *names)
    console.print(table("Means over prompts", head, _cells(proof), range(1, len(head))))
    for outcome in proof.outcomes:
        _show_outcome(console, proof, outcome)
    console.print(Text(LIMITS if proof.measured == proof.outcomes else f"{LIMITS}\n{JUDGED}"))


def _show_outcome(console: Console, proof: Proof, outcome: HeldOut) -> None:
    found = list(_distinct(one for one in proof.comparisons if one.outcome == outcome.name))
    counts = f"{number_of(outcome.prompts, 'prompt')}, {number_of(len(proof.seeds), 'seed')}"
    title = f"{outcome.name}: {described(outcome)}, {counts}"
    columns = ("arm", "against", "learning rates", "difference", "95 % from", "to", "")
    console.print(table(title, columns, (_row(proof, one) for one in found), (2, 3, 4, 5)))
    if outcome.unscored:
        console.print(line(f"{outcome.unscored} prompts are left out: some model has no number of them"))
    judged = [_counts(one, one.answers) for one in found if one.answers is not None]
    if judged:
        columns = ("arm", "against", "won", "tied", "lost", "the longer answer won", "prompts left out")
        console.print(table(f"{outcome.name}: verdicts", columns, judged, (2, 3, 4, 5, 6)))


def _counts(one: Comparison, answers: AnswerCounts) -> Sequence[object]:
    return one.arm, one.control, *answers.shares, answers.left_out


def _cells(proof: Proof) -> Iterator[Sequence[object]]:
    names = [outcome.name for outcome in proof.measured]
    yield "not trained", "", "", *(f"{proof.base[name]:.4f}" for name in names)
    for arm in proof.arms:
        for rate in proof.learning_rates:
            cells = [cell for cell in proof.cells if (cell.arm, cell.learning_rate) == (arm.name, rate)]
            best = " best" if len(proof.learning_rates) > 1 and proof.best[arm.name] == rate else ""
            means = (f"{fmean(cell.means[name] for cell in cells):.4f}" for name in names)
            yield arm.name, f"{rate:g}{best}", "all", *means
            for cell in cells if len(cells) > 1 else ():
                yield "", "", cell.seed, *(f"{cell.means[name]:.4f}" for name in names)


def _distinct(comparisons: Iterable[Comparison]) -> Iterator[Comparison]:
    """Yield comparisons without those at one learning rate that is the best of both arms, which were there before."""
    seen = set()
    for one in comparisons:
        place = (one.arm, one.control, one.learning_rates)
        if place not in seen:
            yield one
        seen.add(place)


def _row(proof: Proof, one: Comparison) -> Sequence[object]:
    first, second = one.learning_rates
    rates = f"{first:g}" if first == second else f"{first:g} and {second:g}"
    ends = ("", "") if one.low is None else (f"{one.low:+.4f}", f"{one.high:+.4f}")
    return (
        one.arm,
        one.control,
        f"{rates}{' best' if one.best and len(proof.learning_rates) > 1 else ''}",
        f"{one.value:+.4f}",
        *ends,
        verdict(proof, one),
    )
