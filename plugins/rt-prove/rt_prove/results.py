"""The results of all units as one proof: means, the best learning rates, and the comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np
from attrs import asdict, frozen

from rt_framework.kit.proofs import Cell, Comparison, HeldOut, Proof, ProvedArm
from rt_framework.text import number_of
from rt_prove.arms import ARMS, Arms, compared
from rt_prove.outcomes import LOSS, common
from rt_prove.settings import versions
from rt_prove.statistics import Array, mean_difference
from rt_prove.training import Tokens
from rt_prove.units import Measured, Plan, Unit

Place = tuple[str, float]
"""Arm and learning rate."""


@frozen
class Results:
    """The numbers of all units, over the prompts that every unit has a number of."""

    base: Mapping[str, Array]
    """Numbers of the model without training, a prompt each, by outcome."""
    tables: Mapping[Place, Mapping[str, Array]]
    """Numbers of an arm at a learning rate by outcome: one row a prompt, one column a seed."""
    outcomes: tuple[HeldOut, ...]

    @classmethod
    def of(cls, plan: Plan, done: Sequence[tuple[Unit, Measured]]) -> Results:
        """Return the results of all units.

        Raises:
            PluginError: an outcome has another number of prompts from unit to unit.
        """
        measured = [one.numbers for _, one in done]
        found: dict[tuple[str | None, float, int], Mapping[str, list[float]]] = {}
        places = {name: common(measured, name) for name in measured[0]}
        for unit, one in done:
            numbers = {name: [one.numbers[name][place] or 0.0 for place in places[name]] for name in places}
            found[None if unit.arm is None else unit.arm.name, unit.rate, unit.seed] = numbers
        tables = {
            (arm.name, rate): {
                name: np.array([found[arm.name, rate, seed][name] for seed in plan.seeds]).T for name in places
            }
            for arm in plan.arms
            for rate in plan.rates
        }
        base = {name: np.array(found[None, 0.0, 0][name]) for name in places}
        return cls(base, tables, tuple(_outcomes(plan, places, measured[0])))

    def means(self, place: Place) -> dict[str, list[float]]:
        """Return the mean over prompts of each seed, by outcome."""
        return {name: table.mean(0).tolist() for name, table in self.tables[place].items()}


def _outcomes(
    plan: Plan, places: Mapping[str, Sequence[int]], numbers: Mapping[str, Sequence[object]]
) -> Iterator[HeldOut]:
    removed = {one.name: one.removed for one in plan.sets}
    units = {one.name: f"as measured by {one.package}" for one in plan.outcomes}
    for name, found in places.items():
        unscored, better = len(numbers[name]) - len(found), None if name in units else False
        yield HeldOut(name, units.get(name, LOSS), better, len(found), removed.get(name, 0), unscored)


def proof_of(
    run: str, plan: Plan, arms: Arms, tokens: Mapping[str, Tokens], done: Sequence[tuple[Unit, Measured]]
) -> Proof:
    """Return the proof.

    Args:
        run: identity of the run.
        plan: the plan.
        arms: the arms of the plan, with those left out.
        tokens: tokens of each arm, by name.
        done: all units of the plan with their results.
    """
    results = Results.of(plan, done)
    best = {arm.name: _best(plan, results, arm.name) for arm in plan.arms}
    cells = (
        Cell(arm.name, rate, seed, {name: means[column] for name, means in results.means((arm.name, rate)).items()})
        for arm in plan.arms
        for rate in plan.rates
        for column, seed in enumerate(plan.seeds)
    )
    return Proof(
        run=run,
        model=plan.fingerprint,
        settings=asdict(plan.settings),
        versions=versions(),
        devices=tuple(sorted({one.device for _, one in done})),
        arms=tuple(_arms(arms, tokens)),
        left_out=dict(arms.left_out),
        outcomes=results.outcomes,
        seeds=plan.seeds,
        learning_rates=plan.rates,
        base={name: float(numbers.mean()) for name, numbers in results.base.items()},
        cells=tuple(cells),
        best=best,
        comparisons=tuple(_comparisons(plan, results, best)),
    )


def _arms(arms: Arms, tokens: Mapping[str, Tokens]) -> Iterator[ProvedArm]:
    for arm in arms.made:
        count = tokens[arm.name]
        notes = [arm.note, f"{number_of(count.cut, 'sample was', 'samples were')} cut off" if count.cut else ""]
        note = "; ".join(filter(None, notes))
        yield ProvedArm(arm.name, ARMS[arm.name], len(arm.pairs), arm.rewritten, count.all, count.target, note)


def _best(plan: Plan, results: Results, arm: str) -> float:
    """Return the learning rate at which an arm has the lowest mean loss, over seeds and held-out sets."""
    means = {rate: results.means((arm, rate)) for rate in plan.rates}
    sets = [one.name for one in plan.sets]
    return min(plan.rates, key=lambda rate: fmean(fmean(means[rate][name]) for name in sets))


def _comparisons(plan: Plan, results: Results, best: Mapping[str, float]) -> Iterator[Comparison]:
    """Yield each comparison at the best learning rates, then at each of the grid."""
    for outcome in results.outcomes:
        for arm, control in compared([arm.name for arm in plan.arms]):
            yield _compared(results, (arm, best[arm]), (control, best[control]), outcome, is_best=True)
            if len(plan.rates) > 1:
                for rate in plan.rates:
                    yield _compared(results, (arm, rate), (control, rate), outcome, is_best=False)


def _compared(results: Results, arm: Place, control: Place, outcome: HeldOut, is_best: bool) -> Comparison:
    table = results.tables[arm][outcome.name] - results.tables[control][outcome.name]
    names, rates = (arm[0], control[0], outcome.name), (arm[1], control[1])
    value, low, high, smallest = difference(table)
    return Comparison(*names, rates, is_best, value, low, high, smallest)


def difference(table: Array) -> tuple[float, float | None, float | None, float | None]:
    """Return the mean of a table of differences, both ends of its interval, and the smallest effect it would show.

    Args:
        table: one row a prompt, one column a seed. With one of either there is no interval.
    """
    if min(table.shape) < 2:
        return float(table.mean()), None, None, None
    found = mean_difference(table)
    return float(found.value), float(found.low), float(found.high), float(found.smallest)
