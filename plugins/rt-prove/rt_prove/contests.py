"""Answers of two arms side by side: at the best learning rate of each, prompt by prompt, seed by seed.

The different ones are the rows of a judge's job; its verdicts become comparisons of the proof.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from attrs import evolve, field, frozen

from rt_compare.contests import Contests, contest
from rt_compare.verdicts import Judged, Verdicts
from rt_framework import Pair
from rt_framework.cli.options import rows_source
from rt_framework.kit.proofs import AnswerCounts, Comparison, HeldOut, Proof
from rt_prove.answers import Answers
from rt_prove.arms import compared
from rt_prove.results import difference
from rt_prove.units import Measured, Plan, Unit


def judged_name(held_out: str) -> str:
    """Return the name of the outcome that a judge makes of the answers to a held-out set."""
    return f"answers to {held_out}"


@frozen
class Meeting:
    """The answers of an arm and of a control to the prompts of one held-out set."""

    arm: str
    control: str
    held_out: str
    cells: tuple[tuple[int | Judged | None, ...], ...] = field(repr=False)
    """A row a prompt, a column a seed: row of the pair of answers among the contests; a tie where both answers are the
    same; ``None`` where a model has not answered."""

    @property
    def place(self) -> tuple[str, str, str]:
        """Arm, control, and the name of the outcome that a judge makes of these answers."""
        return self.arm, self.control, judged_name(self.held_out)

    def comparison(self, proof: Proof, found: Mapping[int, Judged]) -> Comparison | None:
        """Return the comparison over the prompts that have a verdict for every seed; ``None`` if no prompt has.

        Args:
            proof: the proof of what was measured.
            found: the judgements, by row of the contests.
        """
        rows, equal = [], 0
        for cells in self.cells:
            verdicts = [found.get(cell) if isinstance(cell, int) else cell for cell in cells]
            known = [one for one in verdicts if one is not None]
            if len(known) == len(cells):
                rows.append(known)
                equal += sum(isinstance(cell, Judged) for cell in cells)
        if not rows:
            return None
        table = np.array([[one.verdict for one in row] for row in rows], dtype=np.float64)
        value, low, high, smallest = difference(table)
        if len({one.verdict for row in rows for one in row}) == 1:  # nothing shows how much verdicts vary
            low = high = smallest = None
        counts = Verdicts.of(one for row in rows for one in row)
        decisions = (counts.wins, counts.ties, counts.losses, equal, counts.longer, counts.unequal)
        answers = AnswerCounts(len(rows), len(self.cells) - len(rows), *decisions)
        rates = (proof.best[self.arm], proof.best[self.control])
        return Comparison(*self.place, rates, True, value, low, high, smallest, answers)


@frozen
class Meetings:
    """All comparisons of answers, and the contests of different answers in them."""

    meetings: tuple[Meeting, ...]
    contests: Contests | None
    """``None`` where no two answers differ, so that there is nothing to ask."""

    @classmethod
    def of(cls, plan: Plan, best: Mapping[str, float], done: Sequence[tuple[Unit, Measured]]) -> Meetings:
        """Return the comparisons of the arms at their best learning rates.

        Args:
            plan: the plan.
            best: the best learning rate of each arm, by name.
            done: all units of the plan with their results.
        """
        answers = {
            (unit.arm.name, unit.seed): measured.answers
            for unit, measured in done
            if unit.arm is not None and unit.rate == best[unit.arm.name]
        }
        rows: list[Pair] = []
        made = []
        for name, prompts in plan.prompts.items():
            for arm, control in compared([one.name for one in plan.arms]):
                sides = [(answers[arm, seed][name], answers[control, seed][name]) for seed in plan.seeds]
                made.append(Meeting(arm, control, name, tuple(_cells(prompts, sides, rows))))
        shared = sum(cell is not None for one in made for row in one.cells for cell in row)
        contests = Contests(rows_source(rows), shared, shared - len(rows)) if rows else None
        return cls(tuple(made), contests)


def _cells(
    prompts: Sequence[Pair], sides: Sequence[tuple[Answers, Answers]], rows: list[Pair]
) -> Iterator[tuple[int | Judged | None, ...]]:
    """Yield the cells of each prompt, and add a row for every pair of different answers."""
    for place, prompt in enumerate(prompts):
        cells: list[int | Judged | None] = []
        for ours, theirs in sides:
            a, b = ours[place], theirs[place]
            if a is None or b is None:
                cells.append(None)
            elif a == b:
                cells.append(Judged(0, 0, (len(a), len(b))))
            else:
                cells.append(len(rows))
                rows.append(contest(evolve(prompt, response=a), evolve(prompt, response=b)))
        yield tuple(cells)


def with_verdicts(proof: Proof, plan: Plan, meetings: Meetings, found: Mapping[int, Judged], judge: str) -> Proof:
    """Return a proof with the comparisons of answers; one in which no prompt has a verdict for every seed is left out.

    Args:
        proof: the proof of what was measured.
        plan: the plan.
        meetings: the comparisons of answers.
        found: the judgements, by row of the contests.
        judge: identity of the judge.
    """
    unit = f"verdicts of the judge {judge} on two answers: 1 where the arm's is better, 0 a tie, -1 the control's"
    outcomes = (HeldOut(judged_name(name), unit, True, len(prompts)) for name, prompts in plan.prompts.items())
    comparisons = (one.comparison(proof, found) for one in meetings.meetings)
    return evolve(
        proof,
        outcomes=(*proof.outcomes, *outcomes),
        comparisons=(*proof.comparisons, *(one for one in comparisons if one is not None)),
    )
