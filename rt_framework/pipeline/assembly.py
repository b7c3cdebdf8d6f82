"""Puts the two chains together from a config. What fails here has cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

from attrs import asdict, frozen

from rt_framework.concurrency import StopSignal
from rt_framework.config import Builder, Config, Limits, ScoringConfig
from rt_framework.data import Source, open_source
from rt_framework.errors import ConfigError, PluginError, RtError
from rt_framework.kit.parts import Spec
from rt_framework.kit.places import PlacedTeacher, cleaned
from rt_framework.ledger import Ledger
from rt_framework.model import Pair, digest
from rt_framework.pipeline.steps import Step, apart, label
from rt_framework.plugin import Host, Tally
from rt_framework.protocols import BatchApiTeacher, Executor, FittedMetric, Student, Teacher
from rt_framework.rundir import Outlet, open_outlet
from rt_framework.scoring import Losses, Preset, PresetSpans, Scoring, preset
from rt_framework.teacher import Calls, TeacherClient, is_priced, rendered

PROBE = Pair("Name the colours of the flag.", "The flag of France.", "Blue, white and red.")
"""A plain pair: what a reflection renders of it tells a changed prompt, and a student must be able to read it."""


@frozen
class Opened:
    """A job whose parts were found and fit together."""

    make: Builder
    steps: list[Step]
    source: Source
    """Read through once."""
    outlet: Outlet
    """Where its samples go."""


def open_job(host: Host, config: Config, claim: Callable[[Builder, Source], None] | None = None) -> Opened:
    """Check everything that can be checked without a model, a ledger or the net.

    Args:
        host: finds the plugins.
        config: the job.
        claim: refuses what must not be written over, once it is known what is read and before that is read.

    Raises:
        RtError: something is missing, unknown, or does not fit.
    """
    make = Builder(host)
    for kind, part in (("teachers", config.teacher), ("students", config.student)):
        if part is not None:
            make.settings(kind, part)
    steps = steps_of(make, config.pipeline.specs)
    check_parts(make, steps, config.teacher, config.student)
    check_shard(config.data.shard, steps)
    source = open_source(host, config.data, config.limits.samples)
    if claim is not None:
        claim(make, source)
    source, outlet = open_outlet(make, source, config.output.format, config.output.shape)
    return Opened(make, steps, source, outlet)


@frozen
class ScoringRules:
    """How pairs are put before the student in this run, with everything left out filled in."""

    preset: Preset
    template: Spec
    max_tokens: int | None

    @classmethod
    def of(cls, config: ScoringConfig) -> ScoringRules:
        """Settle preset, template and length; what the config says beats the preset.

        Raises:
            ConfigError: the preset is unknown.
        """
        chosen = preset(config.preset)
        template = config.template or Spec(chosen.template)
        return cls(chosen, template, config.max_tokens or chosen.limit(template.name))

    def facts(self) -> dict[str, Any]:
        """What may not change in a run directory."""
        return {"preset": self.preset.name, "template": str(self.template), "max_tokens": self.max_tokens}


@frozen
class StudentSide:
    """The student of one run and the chain that asks it."""

    student: Student
    executor: Executor
    losses: Losses
    scoring: Scoring

    def why(self) -> str:
        """What is being waited for, in words."""
        return f"student: {self.losses.batches} batches under way"

    async def close(self) -> None:
        """Stop the chain and free the worker."""
        await self.losses.close()
        self.executor.close()


def student_side(make: Builder, spec: Spec, config: ScoringConfig, ledger: Ledger, tally: Tally) -> StudentSide:
    """The student's chain.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit.
        ModelError: the model cannot be found.
    """
    framing = ScoringRules.of(config)
    student: Student = make.spec("students", spec)
    executor: Executor = make.spec("executors", config.executor)
    executor.start(partial(_given, student))
    losses = Losses(student.fingerprint, executor, ledger, tally, config.batch_tokens)
    scoring = Scoring(
        metrics=cache(lambda name: make("metrics", name)),
        frame=PresetSpans(framing.preset, make.spec("templates", framing.template), framing.max_tokens),
        losses=losses,
        range_binds=framing.preset.range_binds,
    )
    return StudentSide(student, executor, losses, scoring)


def _given(student: Student) -> Student:
    """The factory for an executor, as a name that other processes know: what is built has loaded nothing yet."""
    return student


@frozen
class TeacherSide:
    """The teacher of one run and the chain that asks it."""

    teacher: Teacher
    calls: Calls
    teaching: TeacherClient


def teacher_facts(teacher: Teacher) -> dict[str, str]:
    """What may not change about who is asked, and where.

    Raises:
        ConfigError: the teacher's address is none.
    """
    place = cleaned(str(teacher.place)) if isinstance(teacher, PlacedTeacher) else ""
    return {"teacher": teacher.identity} | ({"place": place} if place else {})


async def remember_prices(ledger: Ledger, teacher: Teacher) -> None:
    """Note where a teacher without a price is asked: from then on what the ledger adds up is not all of the cost."""
    if not is_priced(teacher):
        await ledger.set_meta("unpriced", True)


def goes_in_batches(teacher: object) -> bool:
    """Whether a teacher's questions go to the provider in batches."""
    return isinstance(teacher, BatchApiTeacher) and teacher.batched


def teacher_side(
    make: Builder, spec: Spec, ledger: Ledger, limits: Limits, tally: Tally, breaker: StopSignal, ask: bool
) -> TeacherSide:
    """The teacher's chain.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit, or a budget needs a price that is not known.
    """
    teacher: Teacher = make.spec("teachers", spec)
    calls = Calls(teacher, ledger, limits, tally, breaker, ask)
    tally.priced = is_priced(teacher)
    return TeacherSide(teacher, calls, TeacherClient(calls, teacher.structured, limits.answers))


def steps_of(make: Builder, specs: Iterable[Spec]) -> list[Step]:
    """The pipeline's stages, built, each with its place and a label that no other one has.

    Raises:
        PluginError, ConfigError: one cannot be built; the message names its place.
    """
    labels, stages = [], []
    for number, spec in enumerate(specs):
        try:
            stages.append(make.spec("stages", spec))
            labels.append(label("stages", spec, make.settings))
        except (ConfigError, PluginError) as error:
            raise type(error)(f"pipeline.{number}: {error}") from error
    return [Step(number, *parts) for number, parts in enumerate(zip(apart(labels), stages, strict=True), 1)]


def stage_facts(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """What readers of a finished run have to know of its stages: by which label decisions name each, and what it reads.

    The pipeline as it was run, whatever its form in the config: by name, short or long.
    """
    return [
        {
            "label": step.label,
            "needs": list(step.stage.needs),
            "bounds": {metric: asdict(bounds, filter=_given_only) for metric, bounds in step.bounds.items()},
        }
        for step in steps
    ]


def _given_only(_: object, value: object) -> bool:
    return value is not None


def check_parts(make: Builder, steps: Iterable[Step], teacher: Spec | None, student: Spec | None) -> None:
    """Whether the pipeline has what it asks for.

    Raises:
        PluginError: a metric or reflection is unknown.
        ConfigError: a teacher or student is missing.
    """
    for step in steps:
        for metric in step.stage.needs:
            if isinstance(make("metrics", metric), FittedMetric) and not step.barrier:
                raise ConfigError(
                    f"stage '{step.name}' reads {metric}, which is fitted to the whole data set: use it in 'select'"
                )
            if student is None:
                raise ConfigError(f"stage '{step.name}' reads {metric}, but the config has no 'student:'")
        if step.stage.reflections and teacher is None:
            raise ConfigError(f"stage '{step.name}' asks a teacher, but the config has no 'teacher:'")


def check_shard(shard: str | None, steps: Iterable[Step]) -> None:
    """Whether every stage can do its work with a part of the samples.

    Raises:
        ConfigError: one needs them all.
    """
    whole = next((step for step in steps if step.barrier), None)
    if shard is not None and whole is not None:
        raise ConfigError(
            f"stage '{whole.name}' needs all samples and this is shard {shard}: run the shards without it, put them "
            "together with 'rt merge', and run the whole pipeline there; what was paid for is not paid for again"
        )


def reflection_facts(steps: Iterable[Step]) -> dict[str, str]:
    """A fingerprint of each reflection in use: what it asks about a fixed pair.

    Raises:
        PluginError: one cannot even ask about that.
    """
    facts = {}
    reflections = {name: one for step in steps for name, one in step.stage.reflections.items()}
    for name, reflection in reflections.items():
        ways = [(index, structured) for index in (0, 1) for structured in (True, False)]
        try:
            asked = [asdict(rendered(reflection, PROBE, *way)) for way in ways]
        except RtError:
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise PluginError(f"reflection '{name}' cannot ask about a plain pair: {told}") from error
        facts[f"reflection {name}"] = digest(asked)
    return facts
