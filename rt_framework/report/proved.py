"""The part of the page on the proof of a run: small trainings on the kept samples and on controls."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from attrs import frozen

from rt_framework.errors import DataError
from rt_framework.kit.proofs import AnswerCounts, Comparison, Proof, described, verdict
from rt_framework.report.texts import fit
from rt_framework.results import FinishedRun
from rt_framework.text import number_of


@frozen
class Proved:
    """The proof in words and tables; empty where there is none."""

    proof: Proof | None = None
    """The proof itself, for the verdict."""
    notes: tuple[str, ...] = ()
    """Notes on a proof that is ignored."""
    note: str = ""
    """How it was made; empty where there is no proof."""
    outcomes: tuple[str, ...] = ()
    """Names of the held-out sets and of what plugins measured, which are columns of the means."""
    arms: tuple[tuple[str, ...], ...] = ()
    means: tuple[tuple[str, ...], ...] = ()
    comparisons: tuple[tuple[str, ...], ...] = ()
    judged: tuple[tuple[str, ...], ...] = ()
    """Comparisons of answers by a judge; empty where there was none."""
    left_out: tuple[str, ...] = ()


def proved(run: FinishedRun) -> Proved:
    """Return what is to be said of a run's proof. One that cannot be used is ignored, with a note."""
    try:
        proof = run.proof
    except DataError as error:
        return Proved(notes=(f"The proof is ignored: {fit(str(error))}",))
    if proof is None:
        return Proved()
    best = [one for one in proof.comparisons if one.best]
    return Proved(
        proof=proof,
        note=_note(proof),
        outcomes=tuple(fit(outcome.name) for outcome in proof.measured),
        arms=tuple(_arms(proof)),
        means=tuple(_means(proof)),
        comparisons=tuple(_row(proof, one) for one in best),
        judged=tuple(_judged(one, one.answers) for one in best if one.answers is not None),
        left_out=tuple(fit(f"{name} was left out: {why}") for name, why in proof.left_out.items()),
    )


def _note(proof: Proof) -> str:
    rates = ", ".join(f"{rate:g}" for rate in proof.learning_rates)
    measured = "; ".join(f"{one.name}: {described(one)}, {one.prompts} prompts" for one in proof.outcomes)
    return fit(
        f"{number_of(len(proof.arms), 'arm')}, {number_of(len(proof.seeds), 'seed')}, learning rates {rates}; "
        f"model: {proof.model}. {measured}. "
        "Differences are arm minus control at the best learning rate of each, which was found on the same prompts. The "
        "intervals of 95 % count prompts and seeds as random, and are not corrected for the number of comparisons. "
        "A loss favours its own style, and a judge may prefer longer answers."
    )


def _arms(proof: Proof) -> Iterator[tuple[str, ...]]:
    for arm in proof.arms:
        numbers = (arm.samples, arm.rewritten, arm.tokens, arm.target_tokens)
        holds = f"{arm.holds} ({arm.note})" if arm.note else arm.holds
        yield fit(arm.name), *(f"{number:,}" for number in numbers), fit(holds)


def _means(proof: Proof) -> Iterator[tuple[str, ...]]:
    """Yield the means of the model without training, and of each arm at each learning rate, with those by seed."""
    names = [outcome.name for outcome in proof.measured]
    yield "not trained", "", "", *(_number(proof.base.get(name)) for name in names)
    for arm in proof.arms:
        for rate in proof.learning_rates:
            cells = [cell for cell in proof.cells if (cell.arm, cell.learning_rate) == (arm.name, rate)]
            best = " (best)" if len(proof.learning_rates) > 1 and proof.best.get(arm.name) == rate else ""
            for seed, group in (("all", cells), *((str(cell.seed), [cell]) for cell in cells if len(cells) > 1)):
                found = ([cell.means[name] for cell in group if name in cell.means] for name in names)
                means = (_number(fmean(numbers) if numbers else None) for numbers in found)
                yield fit(arm.name), f"{rate:g}{best}", seed, *means


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _row(proof: Proof, one: Comparison) -> tuple[str, ...]:
    interval = "–" if one.low is None or one.high is None else f"{one.low:+.4f} to {one.high:+.4f}"
    return _arms_of(one), fit(one.outcome), f"{one.value:+.4f}", interval, fit(verdict(proof, one))


def _judged(one: Comparison, answers: AnswerCounts) -> tuple[str, ...]:
    return _arms_of(one), fit(one.outcome), f"{one.value:+.4f}", *answers.shares, str(answers.left_out)


def _arms_of(one: Comparison) -> str:
    return fit(f"{one.arm} against {one.control}")
