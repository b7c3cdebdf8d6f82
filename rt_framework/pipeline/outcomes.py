"""Checks of the results of stages, and the stamp of a stage's identity on its decisions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import evolve

from rt_framework.errors import PluginError, RtError, described
from rt_framework.model import Dropped, Sample
from rt_framework.pipeline.context import Context
from rt_framework.pipeline.steps import Step


@contextmanager
def blamed(step: Step) -> Iterator[None]:
    """Turn an exception of a stage into an error that names the stage and stops the run.

    Raises:
        PluginError: the stage raised any exception other than an ``RtError``, which passes unchanged.
    """
    try:
        yield
    except RtError:
        raise
    except Exception as error:
        raise PluginError(f"stage '{step.name}' failed: {described(error)}") from error


def check(sample: Sample, outcome: Sample | Dropped) -> None:
    """Check that a stage returned the sample that it was given, and that the kept version exists.

    Raises:
        ValueError: the stage returned another sample, or keeps a version that does not exist.
    """
    after = outcome.sample if isinstance(outcome, Dropped) else outcome
    if after.id != sample.id:
        raise ValueError(f"the stage received sample {sample.id} and returned sample {after.id}")
    if all(version.name != after.kept for version in after.versions):
        raise ValueError(f"version '{after.kept}' was kept, but the sample has no version of that name")


def stamped(step: Step, before: Sample, outcome: Sample | Dropped, ctx: Context) -> Sample | Dropped:
    """Return the outcome of a stage, with the scores that it received, and its id on its own decisions and failures."""
    after = ctx.noting(outcome.sample if isinstance(outcome, Dropped) else outcome)
    decisions, failures = len(before.decisions), len(before.failures)
    if len(after.decisions) > decisions or len(after.failures) > failures:
        after = evolve(
            after,
            decisions=(*after.decisions[:decisions], *(evolve(d, stage=step.id) for d in after.decisions[decisions:])),
            failures=(*after.failures[:failures], *(evolve(f, stage=step.id) for f in after.failures[failures:])),
        )
    return evolve(outcome, sample=after) if isinstance(outcome, Dropped) else after
