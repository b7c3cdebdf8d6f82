"""The proof of a run, ``proof.json``: small trainings on what the run kept and on its controls, compared.

The package rt-prove writes it; the report and the data card read it. Numbers are those of the proof's own student.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cattrs
from attrs import Attribute, asdict, field, frozen

from rt_framework.errors import DataError

PROOF = "proof.json"
"""Name of the file in the run directory."""

SCHEMA = 2
"""Version of the file's layout."""


def _finite(_instance: Any, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{attribute.name} is not a finite number")


def _finite_values(instance: Any, attribute: Attribute[Any], value: Mapping[str, float]) -> None:
    for number in value.values():
        _finite(instance, attribute, number)


@frozen
class ProvedArm:
    """An arm: the samples that were trained on."""

    name: str
    holds: str
    """What it holds, in words."""
    samples: int
    rewritten: int
    """Number of its samples that are rewrites."""
    tokens: int
    """Tokens of all its samples, as they were trained on."""
    target_tokens: int
    """Tokens of these that the loss of the training was on."""
    note: str = ""
    """What a reader has to know about how it was made."""


@frozen
class HeldOut:
    """An outcome: losses on a set of held-out prompts, what a plugin measured, or how a judge found the answers."""

    name: str
    unit: str
    """What its numbers are, in words."""
    higher_is_better: bool | None
    """Whether a higher number is better, or a lower one; ``None`` where only its maker knows."""
    prompts: int
    """Number of prompts that all trainings were measured on, or that they answered for a judge."""
    removed: int = 0
    """Number of prompts that were removed, because they also stand in an arm."""
    unscored: int = 0
    """Number of prompts without a number in some training."""


@frozen
class Cell:
    """One training."""

    arm: str
    learning_rate: float = field(validator=_finite)
    seed: int
    means: Mapping[str, float] = field(validator=_finite_values)
    """Mean over prompts, by outcome."""


@frozen
class AnswerCounts:
    """Counts of a judge's verdicts on the answers of an arm and of a control: one verdict a prompt and seed."""

    prompts: int
    """Number of prompts that have a verdict for every seed."""
    left_out: int
    """Number of prompts without: for some seed a model did not answer, or the judge did not mark in both orders."""
    wins: int
    """Number of verdicts for the arm."""
    ties: int
    losses: int
    equal: int
    """Number of the ties between answers in the same words, about which the judge is not asked."""
    longer: int
    """Number of decisions that the longer answer wins."""
    unequal: int
    """Number of decisions between answers of different length."""

    @property
    def shares(self) -> tuple[str, str, str, str]:
        """Shares of wins, ties and losses among the verdicts, and of :attr:`longer` in :attr:`unequal`, in words."""
        verdicts = self.wins + self.ties + self.losses
        won, tied, lost = (_share(count, verdicts) for count in (self.wins, self.ties, self.losses))
        return won, tied, lost, f"{self.longer} of {self.unequal}"


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else "–"


@frozen
class Comparison:
    """The mean difference of two arms over prompts and seeds: arm minus control, or of a judge's verdicts."""

    arm: str
    control: str
    outcome: str
    learning_rates: tuple[float, float]
    """Those of the arm and of the control."""
    best: bool
    """Whether these are the best of each; else both are one learning rate of the grid."""
    value: float = field(validator=_finite)
    low: float | None = field(validator=_finite)
    """Lower end of the 95 % interval; ``None`` where there is no interval, as with a single seed."""
    high: float | None = field(validator=_finite)
    smallest: float | None = field(validator=_finite)
    """Smallest effect that this proof would have seen with a probability of 80 %."""
    answers: AnswerCounts | None = None
    """Counts of the verdicts, where a judge gave them: 1 the arm's answer wins, 0 a tie, -1 the control's wins."""

    @property
    def is_seen(self) -> bool:
        """Return whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


@frozen
class Proof:
    """The content of ``proof.json``."""

    run: str
    """The run's :attr:`rt_framework.results.FinishedRun.identity`."""
    model: str
    """Fingerprint of the model that was trained."""
    settings: Mapping[str, Any]
    """Settings of the training."""
    versions: Mapping[str, str]
    devices: tuple[str, ...]
    arms: tuple[ProvedArm, ...]
    left_out: Mapping[str, str]
    """Why an arm was not made, by name."""
    outcomes: tuple[HeldOut, ...]
    seeds: tuple[int, ...]
    learning_rates: tuple[float, ...]
    base: Mapping[str, float] = field(validator=_finite_values)
    """Means of the model without training, by outcome."""
    cells: tuple[Cell, ...]
    best: Mapping[str, float] = field(validator=_finite_values)
    """The learning rate with the lowest mean loss over the held-out sets, by arm."""
    comparisons: tuple[Comparison, ...]
    schema: int = SCHEMA

    def __attrs_post_init__(self) -> None:
        unknown = {one.outcome for one in self.comparisons} - {one.name for one in self.outcomes}
        if unknown:
            raise ValueError(f"its comparisons name outcomes that it does not have: {', '.join(sorted(unknown))}")

    def outcome(self, name: str) -> HeldOut:
        """Return the outcome of a name that a comparison has."""
        return next(one for one in self.outcomes if one.name == name)

    @property
    def measured(self) -> tuple[HeldOut, ...]:
        """The outcomes that give each trained model numbers of its own; a judge's verdicts are about two models."""
        return tuple(one for one in self.outcomes if one.name in self.base)

    def text(self) -> str:
        """Return the content of the file."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_proof(run_dir: Path, run: str) -> Proof | None:
    """Return the proof in a run directory; ``None`` if there is none.

    Args:
        run_dir: the run directory.
        run: identity of the run, see :attr:`rt_framework.results.FinishedRun.identity`.

    Raises:
        DataError: the file cannot be read, has another layout, or is about another run.
    """
    path = run_dir / PROOF
    try:
        raw = json.loads(path.read_text("utf-8"))
        if raw["schema"] != SCHEMA:
            raise ValueError(f"its layout is {raw['schema']}, not {SCHEMA}")
        proof = cattrs.structure(raw, Proof)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # cattrs raises groups, of errors of any kind
        raise DataError(f"{path}: is no proof as 'rt prove' writes it: {_first(error)}") from error
    if proof.run != run:
        raise DataError(f"{path}: is about another run, or the run was changed since; 'rt prove' makes it anew")
    return proof


def _first(error: BaseException) -> str:
    """Return the first line of the innermost error of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = f"it has no key {error}" if isinstance(error, KeyError) else str(error)
    return next(iter(text.splitlines()), type(error).__name__)


def verdict(proof: Proof, comparison: Comparison) -> str:
    """Return what a comparison of a proof says, in words: which arm is better, or how large a difference was not seen.

    Where the outcome does not know which direction is better, the words say which arm has the higher number.
    """
    if comparison.low is None:
        return "no interval: one seed, one prompt or equal verdicts do not show how much trainings differ"
    if comparison.is_seen:
        higher_is_better = proof.outcome(comparison.outcome).higher_is_better
        is_higher = comparison.value > 0
        up, down = ("higher", "lower") if higher_is_better is None else ("better", "worse")
        return f"{up if is_higher == (higher_is_better is not False) else down} than {comparison.control}"
    return f"no difference was seen; this could have seen one of {comparison.smallest:.2g}"


def described(outcome: HeldOut) -> str:
    """Return what the numbers of an outcome are, in words, with the direction that is better if it is known."""
    better = {True: "; higher is better", False: "; lower is better", None: ""}[outcome.higher_is_better]
    return f"{outcome.unit}{better}"
