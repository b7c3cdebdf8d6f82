"""Assembly of a job from its config: the stages, the teacher's chain of calls and the student's chain of scoring.

Nothing is paid for here, so a failure at this point costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

from attrs import asdict, frozen

from rt_framework.config import Builder, Config, Limits, ScoringConfig
from rt_framework.data import Source, open_source
from rt_framework.errors import ConfigError, PluginError, RtError
from rt_framework.kit.parts import Spec
from rt_framework.kit.places import PlacedTeacher, cleaned
from rt_framework.ledger import Ledger
from rt_framework.model import Pair, digest
from rt_framework.pipeline.steps import Step, apart, kind_of, label
from rt_framework.plugin import Host
from rt_framework.protocols import BatchApiTeacher, Executor, FittedMetric, Student, Teacher
from rt_framework.rundir import Outlet, Session, open_outlet
from rt_framework.scoring import Losses, Preset, PresetSpans, Scoring, preset
from rt_framework.teacher import Answers, TeacherClient, is_priced, rendered

PROBE = Pair("Name the colours of the flag.", "The flag of France.", "Blue, white and red.")
"""Fixed plain pair for checks. A changed prompt shows in the request that a reflection renders for this pair, and a
student must be able to encode it."""


@frozen
class Opened:
    """A job whose parts were all found and fit together."""

    make: Builder
    steps: list[Step]
    source: Source
    """Input samples, already read through once."""
    outlet: Outlet
    """Destination of the finished samples."""


def open_job(host: Host, config: Config, claim: Callable[[Builder, Source], None] | None = None) -> Opened:
    """Open a job and check everything that can be checked without a model, a ledger or the network.

    Args:
        host: finds the plugins.
        config: the job.
        claim: refuses to overwrite what must be kept; called when the source is known, before it is read.

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
    """Rules by which pairs are shown to the student in this run, with every omitted setting filled in."""

    preset: Preset
    template: Spec
    max_tokens: int | None

    @classmethod
    def of(cls, config: ScoringConfig) -> ScoringRules:
        """Settle preset, template and length; a value in the config takes precedence over the preset.

        Raises:
            ConfigError: the preset is unknown.
        """
        chosen = preset(config.preset)
        template = config.template or Spec(chosen.template)
        return cls(chosen, template, config.max_tokens or chosen.limit(template.name))

    def facts(self) -> dict[str, Any]:
        """Return the settings of scoring that may not change in a run directory."""
        return {"preset": self.preset.name, "template": str(self.template), "max_tokens": self.max_tokens}


@frozen
class StudentSide:
    """The student of one run and the chain that scores with it."""

    student: Student
    executor: Executor
    losses: Losses
    scoring: Scoring

    async def close(self) -> None:
        """Stop the chain and release the executor's workers."""
        await self.losses.close()
        self.executor.close()


def student_side(make: Builder, spec: Spec, config: ScoringConfig, ledger: Ledger) -> StudentSide:
    """Build the student and the chain that scores with it.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit.
        ModelError: the model cannot be found.
    """
    framing = ScoringRules.of(config)
    student: Student = make.spec("students", spec)
    executor: Executor = make.spec("executors", config.executor)
    executor.start(partial(_given, student))
    losses = Losses(student.fingerprint, executor, ledger, config.batch_tokens)
    scoring = Scoring(
        metrics=cache(lambda name: make("metrics", name)),
        frame=PresetSpans(framing.preset, make.spec("templates", framing.template), framing.max_tokens),
        losses=losses,
        range_binds=framing.preset.range_binds,
    )
    return StudentSide(student, executor, losses, scoring)


def _given(student: Student) -> Student:
    """Return the student: the factory that an executor calls.

    It is a module-level function so that it can be pickled by name for other processes. The student has not loaded its
    model yet.
    """
    return student


@frozen
class TeacherSide:
    """The teacher of one run and the chain that sends it questions."""

    teacher: Teacher
    answers: Answers
    client: TeacherClient


def teacher_facts(teacher: Teacher) -> dict[str, str]:
    """Return the identity of the teacher and its address, if it has one, which may not change in a run directory.

    Raises:
        ConfigError: the teacher's address is not valid.
    """
    place = cleaned(str(teacher.place)) if isinstance(teacher, PlacedTeacher) else ""
    return {"teacher": teacher.identity} | ({"place": place} if place else {})


async def remember_prices(ledger: Ledger, teacher: Teacher) -> None:
    """Record in the ledger that a teacher without a known price is asked.

    From then on the costs that the ledger adds up are not the whole cost.
    """
    if not is_priced(teacher):
        await ledger.set_meta("unpriced", True)


def goes_in_batches(teacher: object) -> bool:
    """Return whether a teacher's questions are sent through the provider's batch API."""
    return isinstance(teacher, BatchApiTeacher) and teacher.batched


def teacher_side(
    make: Builder,
    spec: Spec,
    limits: Limits,
    session: Session,
    ask: bool = True,
    busy: Callable[[], bool] = lambda: False,
) -> TeacherSide:
    """Build the teacher and the chain that sends it questions, and let the session's meter read its counters.

    Args:
        make: builds plugins.
        spec: the teacher.
        limits: limits of the calls.
        session: the session that asks.
        ask: True if requests may be sent; if False, only answers from the ledger are given.
        busy: returns whether the run may soon ask more questions without a further answer of the teacher.

    Raises:
        PluginError: a plugin is unknown or broken.
        ConfigError: options do not fit, or a budget needs a price that is not known.
    """
    teacher: Teacher = make.spec("teachers", spec)
    answers = Answers(teacher, session.ledger, limits, session.meter.reporters, session.stop, ask, busy)
    session.meter.teacher = answers.sending
    return TeacherSide(teacher, answers, TeacherClient(answers, teacher.structured, limits.answers))


def steps_of(make: Builder, specs: Iterable[Spec]) -> list[Step]:
    """Build the pipeline's stages, each with its identity, its place and a unique label.

    Raises:
        PluginError, ConfigError: a stage cannot be built; the message names its place.
    """
    kinds, labels, stages = [], [], []
    for number, spec in enumerate(specs):
        try:
            stages.append(make.spec("stages", spec))
            kinds.append(kind_of(spec, make.settings("stages", spec)))
            labels.append(label("stages", spec, make.settings))
        except (ConfigError, PluginError) as error:
            raise type(error)(f"pipeline.{number}: {error}") from error
    ids, labels = apart(kinds, "{name}-{number}"), apart(labels, "{name} ({number})")
    parts = zip(ids, range(1, len(ids) + 1), labels, stages, strict=True)
    return [Step(*part) for part in parts]


def stage_facts(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return the facts of the stages that readers of a finished run need.

    These are the id by which decisions and failures name each stage, its name and label for people, the metrics that it
    reads and the bounds that it compares them with. They describe the pipeline as it was run, whichever form the config
    used: a name, the short or the long form.
    """
    return [
        {
            "id": step.id,
            "name": step.name,
            "label": step.label,
            "needs": list(step.stage.needs),
            "bounds": {metric: asdict(bounds, filter=_given_only) for metric, bounds in step.bounds.items()},
        }
        for step in steps
    ]


def _given_only(_: object, value: object) -> bool:
    return value is not None


def check_parts(make: Builder, steps: Iterable[Step], teacher: Spec | None, student: Spec | None) -> None:
    """Check that the pipeline has the metrics, teacher and student that its stages need.

    Raises:
        PluginError: a metric or reflection is unknown.
        ConfigError: a teacher or student is missing, or a stage for single samples reads a metric that is fitted to the
            whole data set.
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
    """Check that every stage can do its work when only a shard of the samples is there.

    Raises:
        ConfigError: a stage needs all samples.
    """
    whole = next((step for step in steps if step.barrier), None)
    if shard is not None and whole is not None:
        raise ConfigError(
            f"stage '{whole.name}' needs all samples and this is shard {shard}: run the shards without it, merge "
            "them with 'rt merge', and run the whole pipeline there; nothing is paid for twice"
        )


def reflection_facts(steps: Iterable[Step]) -> dict[str, str]:
    """Return a fingerprint of each reflection in use: a digest of the requests that it renders for a fixed pair.

    Raises:
        PluginError: a reflection cannot render a request for that pair.
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
