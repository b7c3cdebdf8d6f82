"""Measurements of a trained model: losses on held-out samples, and outcomes of other packages."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from rt_framework import Pair
from rt_framework.cli.options import Host, rows_source
from rt_framework.errors import ConfigError, DataError, PluginError, described
from rt_framework.jobs.scoring import Lines, Scorers, score
from rt_framework.kit.parts import Spec
from rt_prove.held_out import HeldOutSet

GROUP = "rt_prove.outcomes"
"""Entry-point group of outcomes that other packages measure."""

LOSS = "mean token loss of the response, in nats"

Numbers = list[float | None]
"""A number for each prompt, in order; ``None`` where there is none."""


class Measure(Protocol):
    """The function behind the entry point of an outcome, which measures a model."""

    def __call__(self, model: str, adapter: Path | None) -> Sequence[float]:
        """Return one number for each prompt, always in the same order.

        Args:
            model: hub id or directory of the model.
            adapter: directory of an adapter of peft over it; ``None`` for the model alone.
        """


@frozen
class Outcome:
    """An outcome that another package measures."""

    name: str
    package: str
    """Package and version that brought it."""
    _entry: EntryPoint

    def measure(self, model: str, adapter: Path | None) -> Numbers:
        """Measure a model.

        Raises:
            PluginError: it failed, or did not return numbers.
        """
        try:
            function: Measure = self._entry.load()
            numbers = [float(number) for number in function(model, adapter)]
        except Exception as error:
            raise PluginError(f"outcome '{self.name}' of {self.package} failed: {described(error)}") from error
        if not numbers or not all(map(math.isfinite, numbers)):
            raise PluginError(f"outcome '{self.name}' of {self.package}: expected one finite number a prompt")
        return list(numbers)


def find_outcome(name: str) -> Outcome:
    """Return the outcome called *name* of an installed package.

    Raises:
        ConfigError: there is none.
    """
    known = {one.name: one for one in entry_points(group=GROUP)}
    if name not in known:
        raise ConfigError(f"--outcome {name}: no installed package offers it; known: {', '.join(known) or 'none'}")
    entry = known[name]
    package = entry.dist
    return Outcome(name, "a package" if package is None else f"{package.name} {package.version}", entry)


def held_out_losses(host: Host, student: Spec, sets: Sequence[HeldOutSet], folder: Path) -> dict[str, Numbers]:
    """Return the mean token loss of each held-out response, by set.

    Args:
        host: finds the student.
        student: the student.
        sets: the sets; all are scored in one pass.
        folder: directory for the losses.

    Raises:
        RtError: the student cannot score.
    """
    found = iter(mean_losses(host, student, [pair for one in sets for pair in one.pairs], folder))
    return {one.name: [next(found) for _ in one.pairs] for one in sets}


def mean_losses(host: Host, student: Spec, pairs: Sequence[Pair], folder: Path) -> Numbers:
    """Return the mean token loss of each response, in nats; ``None`` where there is none.

    Raises:
        RtError: the student cannot score.
    """
    found: Numbers = []

    async def take(lines: Lines, checks: Sequence[Any]) -> None:
        async for line in lines:
            found.append(line["metrics"]["loss"])
        for check in checks:
            check()

    asyncio.run(score(host, rows_source(pairs), Scorers(("loss",), student), folder, take))
    return found


def common(measured: Sequence[Mapping[str, Numbers]], name: str) -> list[int]:
    """Return the positions of the prompts that have a number of an outcome in every measurement.

    Raises:
        PluginError: measurements have different numbers of prompts.
        DataError: no prompt has a number in every measurement.
    """
    lengths = {len(one[name]) for one in measured}
    if len(lengths) > 1:
        raise PluginError(f"outcome '{name}' has {min(lengths)} to {max(lengths)} numbers; expected one a prompt")
    places = [place for place in range(lengths.pop()) if all(one[name][place] is not None for one in measured)]
    if not places:
        raise DataError(f"held-out set '{name}': no prompt has a loss in all trainings")
    return places
