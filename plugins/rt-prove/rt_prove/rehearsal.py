"""The time that a proof takes, estimated from a few real steps of training, real losses and real answers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

from attrs import frozen
from rich.console import Console

from rt_framework.kit.parts import Spec
from rt_prove.answers import answers
from rt_prove.outcomes import mean_losses
from rt_prove.tables import duration
from rt_prove.training import Tokens, train
from rt_prove.units import Plan, Unit

STEPS = 3
"""Steps of training that are measured; the first, which is slower, is left out."""
PROMPTS = 8
"""Held-out prompts that are measured; as many are answered, which is a batch of the student."""


@frozen
class Pace:
    """Measured times, in seconds."""

    start: float
    """Until a training begins: loading the model."""
    token: float
    """For a token of training."""
    prompt: float
    """For a held-out prompt."""
    answer: float
    """For an answer of the model without training, in a batch; 0 where none are asked for."""

    def seconds(self, plan: Plan, tokens: Mapping[str, Tokens], units: Iterable[Unit]) -> float:
        """Return the time that units take. What plugins measure is not in it."""
        arms = [unit.arm for unit in units]
        trained = [arm.name for arm in arms if arm is not None]
        training = sum(self.start + self.token * tokens[name].all * plan.settings.epochs for name in trained)
        prompts, answered = (
            sum(map(len, pairs)) for pairs in ([one.pairs for one in plan.sets], plan.prompts.values())
        )
        return training + len(arms) * (prompts * self.prompt + answered * self.answer)


def show_rehearsal(plan: Plan, tokens: Mapping[str, Tokens], units: Sequence[Unit], console: Console) -> None:
    """Print how many units there are, and measure how long those take that are not finished.

    Raises:
        RtError: as :func:`rehearse`.
    """
    left = [unit for unit in units if plan.found(unit) is None]
    console.print(
        f"{len(units)} units, of which {len(units) - len(left)} are finished: the model without training, and arms × "
        f"seeds × learning rates: {len(plan.arms)} × {len(plan.seeds)} × {len(plan.rates)}"
    )
    if not left:
        return
    pace = rehearse(plan, tokens)
    answers = "" if plan.generation is None else f", {pace.answer:.2f} s an answer of the model without training"
    console.print(
        f"measured here: {pace.start:.1f} s until a training begins, {1000 * pace.token:.2f} ms a token of training, "
        f"{pace.prompt:.2f} s a held-out prompt{answers}\n"
        f"about {duration(pace.seconds(plan, tokens, left))} for the others, one after the other"
    )


def rehearse(plan: Plan, tokens: Mapping[str, Tokens]) -> Pace:
    """Train a few steps on the first arm, score a few held-out prompts, and answer some. Nothing of it stays.

    Raises:
        RtError: the model cannot be trained, cannot score, or cannot answer.
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
        answer = _answering(plan, student, Path(folder))
    steps = [after - before for before, after in pairwise(clock.times)]
    # Steps take longer samples and shorter ones as they come; the arm's mean stands for them.
    counted = tokens[arm.name]
    a_step = counted.all / counted.rows * min(plan.settings.batch_size, counted.rows)
    return Pace(clock.times[0] - begun, fmean(steps[1:] or steps) / a_step, prompt, answer)


def _answering(plan: Plan, student: Spec, folder: Path) -> float:
    """Return the seconds that one answer takes, loading left out; 0 where none are asked for."""
    if plan.generation is None:
        return 0.0
    prompts = [pair for pairs in plan.prompts.values() for pair in pairs][:PROMPTS]
    begun = perf_counter()
    answers(plan.host, student, prompts[:1], 1, folder / "loading")
    loaded = perf_counter()
    answers(plan.host, student, prompts, plan.generation.max_tokens, folder / "answers")
    return max(perf_counter() - loaded - (loaded - begun), 0.0) / len(prompts)


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
