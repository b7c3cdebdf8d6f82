"""Checks of the results of stages, and the stamp of a stage's identity on its decisions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attrs import evolve

from rt_framework.errors import KINDS, PluginError, RtError, described
from rt_framework.model import Dropped, Sample, Score, Version
from rt_framework.pipeline.context import Context, given
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
        ValueError: the stage returned another sample, keeps a version that does not exist, or names a kind of failure
            that does not exist.
    """
    after = outcome.sample if isinstance(outcome, Dropped) else outcome
    if after.id != sample.id:
        raise ValueError(f"the stage received sample {sample.id} and returned sample {after.id}")
    if all(version.name != after.kept for version in after.versions):
        raise ValueError(f"version '{after.kept}' was kept, but the sample has no version of that name")
    unknown = next((failure.kind for failure in after.failures if failure.kind not in KINDS), None)
    if unknown is not None:
        raise ValueError(f"'{unknown}' is no kind of failure; use one of {', '.join(KINDS)}")


def _declared(step: Step, before: Sample, after: Sample, ctx: Context) -> Sample:
    """Return the sample with the scores that a stage gave its versions, each checked against what it declares.

    Raises:
        ValueError: the stage has not declared a score, a score is no finite number, or its version does not exist.
    """
    if after.scores is before.scores:
        return after
    versions = {version.name: version for version in after.versions}
    checked: dict[Version, dict[str, Score]] = {}
    for name, scores in after.scores.items():
        if name not in versions:
            raise ValueError(f"the stage gives scores to '{name}', but the sample has no version of that name")
        version = versions[name]
        known = {**before.scores.get(name, {}), **ctx.received(version)}
        new = {score: value for score, value in scores.items() if known.get(score) != value}
        checked[version] = {score: given(step, score, value) for score, value in new.items()}
    return evolve(after, scores=before.scores).scoring(checked)


def stamped(step: Step, before: Sample, outcome: Sample | Dropped, ctx: Context) -> Sample | Dropped:
    """Return the outcome of a stage, with the scores that it received, and its id on its own decisions and failures."""
    after = outcome.sample if isinstance(outcome, Dropped) else outcome
    after = ctx.noting(_declared(step, before, after, ctx))
    decisions, failures = len(before.decisions), len(before.failures)
    if len(after.decisions) > decisions or len(after.failures) > failures:
        after = evolve(
            after,
            decisions=(*after.decisions[:decisions], *(evolve(d, stage=step.id) for d in after.decisions[decisions:])),
            failures=(*after.failures[:failures], *(evolve(f, stage=step.id) for f in after.failures[failures:])),
        )
    return evolve(outcome, sample=after) if isinstance(outcome, Dropped) else after
