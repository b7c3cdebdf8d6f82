"""Units of work: each training with its measurements is one file, written as a whole, and found again by its key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, field, frozen

from rt_framework import Pair
from rt_framework.cli.options import Builder, Destination, Host, whole
from rt_framework.errors import ConfigError, DataError
from rt_framework.model import digest
from rt_prove.answers import Answers, held_out_answers
from rt_prove.arms import Arm
from rt_prove.held_out import HeldOutSet
from rt_prove.outcomes import Numbers, Outcome, held_out_losses
from rt_prove.settings import Generation, Learner, Training, versions
from rt_prove.training import device, train

FOLDER = "proof"
"""Folder of the units in the run directory."""


@frozen
class Unit:
    """One training, or the model without training."""

    arm: Arm | None
    """``None`` for the model without training."""
    seed: int
    rate: float
    key: str
    """Hash of everything that decides the result."""

    @property
    def label(self) -> str:
        """Words for the user."""
        return "model without training" if self.arm is None else f"{self.arm.name}, seed {self.seed}, lr {self.rate:g}"

    @property
    def file(self) -> str:
        """Name of its file."""
        what = "base" if self.arm is None else f"{self.arm.name}-{self.rate:g}-{self.seed}"
        return f"{what}-{self.key}.json"


@frozen
class Measured:
    """The result of a unit."""

    key: str
    device: str
    """Name of the device that it was trained on."""
    numbers: Mapping[str, Numbers]
    """A number for each prompt, by outcome."""
    answers: Mapping[str, Answers] = field(factory=dict)
    """Answers to the drawn prompts, by held-out set; empty where none were asked for."""

    def text(self) -> str:
        """Return the content of its file, which names answers only if there are any."""
        raw = asdict(self)
        if not self.answers:
            del raw["answers"]
        return json.dumps(raw, sort_keys=True, allow_nan=False) + "\n"


@frozen
class Plan:
    """All units of a proof."""

    host: Host = field(repr=False)
    run_dir: Path
    learner: Learner
    settings: Training
    arms: tuple[Arm, ...]
    sets: tuple[HeldOutSet, ...]
    outcomes: tuple[Outcome, ...]
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    fingerprint: str
    """Fingerprint of the model."""
    generation: Generation | None = None
    """The prompts that every model answers, if any."""

    @classmethod
    def of(cls, host: Host, run_dir: Path, learner: Learner, **parts: Any) -> Plan:
        """Return the plan.

        Raises:
            ModelError: there is no such model.
        """
        fingerprint = Builder(host).spec("students", learner.student()).fingerprint
        return cls(host, run_dir, learner, fingerprint=fingerprint, **parts)

    @property
    def prompts(self) -> dict[str, tuple[Pair, ...]]:
        """The prompts that every model answers, by held-out set; empty where none are asked for."""
        asked = self.generation
        return {} if asked is None else {one.name: one.drawn(asked.prompts) for one in self.sets}

    def units(self) -> Iterator[Unit]:
        """Yield all units: seed by seed, so that what is there after a stop can be compared."""
        yield self._unit(None, 0, 0.0)
        for seed in self.seeds:
            for rate in self.rates:
                yield from (self._unit(arm, seed, rate) for arm in self.arms)

    def _unit(self, arm: Arm | None, seed: int, rate: float) -> Unit:
        measured = {
            "model": self.fingerprint,
            "held out": {one.name: one.content for one in self.sets},
            "outcomes": {one.name: one.package for one in self.outcomes},
            "versions": versions(),
        }
        if self.generation is not None:  # without answers the keys are those of a proof that knows of none
            measured["answers"] = asdict(self.generation)
        if arm is None:
            return Unit(None, seed, rate, digest(measured))
        made = {"arm": arm.content, "seed": seed, "rate": rate, "settings": asdict(self.settings)}
        return Unit(arm, seed, rate, digest({**measured, **made}))

    def found(self, unit: Unit) -> Measured | None:
        """Return the result of a unit that is finished.

        Raises:
            DataError: its file is damaged.
        """
        path = self.run_dir / FOLDER / unit.file
        try:
            raw = json.loads(path.read_text("utf-8"))
            parts = raw["numbers"], raw.get("answers", {})
            numbers, answers = ({name: list(found) for name, found in part.items()} for part in parts)
            measured = Measured(raw["key"], str(raw["device"]), numbers, answers)
            if measured.key != unit.key:
                raise ValueError("it has the key of another training")
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: cannot be read: {error}; delete it, and it is made anew") from error
        return measured

    def work(self, unit: Unit) -> Measured:
        """Train and measure, let the model answer if asked for, and write the result; nothing else stays.

        Raises:
            RtError: the model cannot be trained or measured, or cannot answer.
        """
        file = Destination(self.run_dir / FOLDER / unit.file, record=self.run_dir)
        with whole(file) as part:
            # The temporary folder that the file is written in holds the adapter too: it is removed in any case, and
            # that of a process that was killed by the next one.
            room = part.parent
            learner, adapter = self.learner, None
            if unit.arm is not None:
                result = room / "trained"
                train(learner, unit.arm.pairs, self.settings, unit.seed, unit.rate, result)
                learner, adapter = (
                    (Learner(str(result), learner.dtype), None) if self.settings.full else (learner, result)
                )
            student, answers = learner.student(adapter), {}
            numbers = held_out_losses(self.host, student, self.sets, room / "losses")
            numbers |= {one.name: one.measure(learner.model, adapter) for one in self.outcomes}
            if self.generation is not None:
                most = self.generation.max_tokens
                answers = held_out_answers(self.host, student, self.prompts, most, room / "answers")
            measured = Measured(unit.key, device(), numbers, answers)
            part.write_text(measured.text(), "utf-8")
        return measured


def share(units: Sequence[Unit], part: str | None) -> Sequence[Unit]:
    """Return every n-th unit, from the i-th on, for ``i/n``; all units for ``None``.

    Raises:
        ConfigError: *part* is no ``i/n`` with i from 1 to n.
    """
    if part is None:
        return units
    first, slash, count = part.partition("/")
    if not (slash and first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise ConfigError(f"--unit {part}: expected i/n, such as 1/4 for the first of four shares")
    return units[int(first) - 1 :: int(count)]
