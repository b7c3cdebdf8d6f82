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

SCHEMA = 1
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
    """An outcome: a set of held-out prompts with responses, or what a plugin measured."""

    name: str
    unit: str
    """What its numbers are, in words."""
    prompts: int
    """Number of prompts that all trainings were measured on."""
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
class Comparison:
    """The mean difference of two arms, arm minus control, over prompts and seeds."""

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


def verdict(comparison: Comparison) -> str:
    """Return what a comparison says, in words: a difference with its direction, or how large a one was not seen."""
    if comparison.low is None:
        return "no interval: one seed or one prompt does not show how much trainings differ"
    if comparison.is_seen:
        direction = "lower" if comparison.value < 0 else "higher"
        return f"{direction} than {comparison.control}"
    return f"no difference was seen; this could have seen one of {comparison.smallest:.2g}"
