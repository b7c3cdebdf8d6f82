"""The time that a proof takes, estimated from a few real steps of training and a few real losses."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

from attrs import frozen

from rt_prove.outcomes import mean_losses
from rt_prove.training import Tokens, train
from rt_prove.units import Plan, Unit

STEPS = 3
"""Steps of training that are measured; the first, which is slower, is left out."""
PROMPTS = 8
"""Held-out prompts that are measured."""


@frozen
class Pace:
    """Measured times, in seconds."""

    start: float
    """Until a training begins: loading the model."""
    token: float
    """For a token of training."""
    prompt: float
    """For a held-out prompt."""

    def seconds(self, plan: Plan, tokens: Mapping[str, Tokens], units: Iterable[Unit]) -> float:
        """Return the time that units take. What plugins measure is not in it."""
        prompts = sum(len(one.pairs) for one in plan.sets)
        trained = [unit.arm.name for unit in units if unit.arm is not None]
        training = sum(self.start + self.token * tokens[name].all * plan.settings.epochs for name in trained)
        return training + (len(trained) + 1) * prompts * self.prompt


def rehearse(plan: Plan, tokens: Mapping[str, Tokens]) -> Pace:
    """Train a few steps on the first arm, and score a few held-out prompts. Nothing of it stays.

    Raises:
        RtError: the model cannot be trained, or cannot score.
    """
    arm = plan.arms[0]
    begun = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        clock = _clock()
        train(
            plan.learner,
            arm.pairs,
            plan.settings,
            plan.seeds[0],
            plan.rates[0],
            Path(folder) / "trained",
            STEPS,
            [clock],
        )
        pairs = [pair for one in plan.sets for pair in one.pairs][: 2 * PROMPTS]
        student = plan.learner.student()
        mean_losses(plan.host, student, pairs[:1], Path(folder) / "first")  # which loads the model
        scored = perf_counter()
        mean_losses(plan.host, student, pairs[1:] or pairs, Path(folder) / "second")
        prompt = (perf_counter() - scored) / len(pairs[1:] or pairs)
    steps = [after - before for before, after in pairwise(clock.times)]
    # Steps take longer samples and shorter ones as they come; the arm's mean stands for them.
    a_step = tokens[arm.name].all / len(arm.pairs) * min(plan.settings.batch_size, len(arm.pairs))
    return Pace(clock.times[0] - begun, fmean(steps[1:] or steps) / a_step, prompt)


def _clock() -> Any:
    """Return a callback of the trainer that notes the time of its beginning and of the end of each step."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.times.append(perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.times.append(perf_counter())

    return Clock()
