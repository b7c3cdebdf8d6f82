"""A job, opened from its config: its stages, its input and its outlet, all checked to fit together.

Nothing is paid for here, so a failure at this point costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import frozen

from rt_framework.config import MAIN, Builder, Config, NamedTeacher
from rt_framework.data import Source, open_source
from rt_framework.errors import ConfigError, PluginError
from rt_framework.kit.parts import Spec
from rt_framework.model import Range
from rt_framework.pipeline.columns import check_columns, columns_of
from rt_framework.pipeline.steps import Asking, Step, apart, kind_of, label
from rt_framework.pipeline.student_teachers import students_asked
from rt_framework.pipeline.vector_readers import check_vectors
from rt_framework.plugin import Host, named
from rt_framework.protocols import FittedMetric
from rt_framework.rundir import REVIEW, Outlet, open_outlet
from rt_framework.scoring import reads_texts_alone, student_of


@frozen
class Opened:
    """A job whose parts were all found and fit together."""

    make: Builder
    steps: list[Step]
    source: Source
    """Input samples, already read through once."""
    outlet: Outlet
    """Destination of the finished samples."""
    teachers: Mapping[str, NamedTeacher]
    """The teachers that are asked, by name."""
    students: Mapping[str, Spec]
    """The students whose losses are read or whom a teacher asks, by name."""


def open_job(
    host: Host,
    config: Config,
    claim: Callable[[Builder, Source], None] | None = None,
    source: Source | None = None,
) -> Opened:
    """Open a job and check everything that can be checked without a model, a ledger or the network.

    Args:
        host: finds the plugins.
        config: the job.
        claim: refuses to overwrite what must be kept; called when the source is known, before it is read.
        source: the samples, where they are rows in memory; those that the config names when left out.

    Raises:
        RtError: something is missing, unknown, or does not fit.
    """
    make = Builder(host)
    steps = steps_of(make, config.pipeline.specs)
    teachers = config.asked(name for step in steps for name in step.teachers)
    check_parts(make, steps, config)
    students = config.scored([*map(student_of, metrics_of(steps)), *students_asked(make, teachers)])
    for kind, specs in (("teachers", [one.part for one in teachers.values()]), ("students", students.values())):
        for spec in specs:
            make.settings(kind, spec)
    check_shard(config.data.shard, steps)
    if source is None:
        source = open_source(host, config.data, config.limits.samples)
    if claim is not None:
        claim(make, source)
    source, outlet = open_outlet(make, source, config.output.format, config.output.shape)
    first = next(iter(source), None) if columns_of(steps) else None
    if first is not None:
        check_columns(steps, first[1])
    return Opened(make, steps, source, outlet, teachers, students)


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
    # The id of what obeys vetoes is taken, so a stage of a plugin that is called alike gets a number.
    ids, labels = apart((REVIEW, *kinds), "{name}-{number}")[1:], apart(labels, "{name} ({number})")
    parts = zip(ids, range(1, len(ids) + 1), labels, stages, strict=True)
    return [Step(*part) for part in parts]


def check_parts(make: Builder, steps: Iterable[Step], config: Config) -> None:
    """Check that the pipeline has the metrics, teachers and student that its stages need.

    Raises:
        PluginError: a metric or reflection is unknown, or a stage gives a score that is called like a metric.
        ConfigError: a teacher or student is missing, a stage for single samples reads a metric that is fitted to the
            whole data set, or two stages give rewrites or scores of one name.
    """
    for name in config.metrics:
        if name in make.names("metrics"):
            raise ConfigError(f"metrics: '{name}' is the name of a metric already; give this one another name")
    writers: dict[str, Step] = {}
    givers: dict[str, Step] = {}
    for step in steps:
        for asking in step.asks:
            _check_asking(step, asking, config, writers)
        for metric in step.stage.needs:
            if metric not in givers:
                _check_metric(make, step, metric, config)
        check_vectors(step, config)
        for score in step.provides:
            if score in make.names("metrics"):
                raise PluginError(f"stage '{step.name}' gives a score '{score}', which is the name of a metric")
            other = givers.setdefault(score, step)
            if other is not step:
                raise ConfigError(f"the stages '{other.name}' and '{step.name}' both give a score '{score}'")


def _check_metric(make: Builder, step: Step, metric: str, config: Config) -> None:
    name, at, student = metric.partition("@")
    try:
        built = make.spec("metrics", config.metrics.get(name, Spec(name)))
        if at:
            named("student", student, config.students)
    except (ConfigError, PluginError) as error:
        raise type(error)(f"pipeline.{step.number - 1}: {error}") from error
    if isinstance(built, FittedMetric) and not step.barrier:
        raise ConfigError(
            f"stage '{step.name}' reads {metric}, which is fitted to the whole data set: use it in 'select'"
        )
    if reads_texts_alone(built):
        if at:
            raise ConfigError(f"stage '{step.name}' reads {metric}, but {name} reads no student's losses: leave @ out")
    elif config.student is None and not at:
        raise ConfigError(f"stage '{step.name}' reads {metric}, but the config has no 'student:'")


def provided_by(steps: Iterable[Step]) -> dict[str, Range]:
    """Return the scores that stages give, by name, with the range of their valid values."""
    return {name: valid for step in steps for name, valid in step.provides.items()}


def metrics_of(steps: Sequence[Step]) -> list[str]:
    """Return the names of the metrics that the stages read, sorted."""
    provided = provided_by(steps)
    return sorted({name for step in steps for name in step.stage.needs if name not in provided})


def _check_asking(step: Step, asking: Asking, config: Config, writers: dict[str, Step]) -> None:
    if asking.teacher == MAIN and config.teacher is None:
        raise ConfigError(f"stage '{step.name}' asks a teacher, but the config has no 'teacher:'")
    if not asking.question.rewrites:
        return
    other = writers.setdefault(asking.name, step)
    if other is not step:
        raise ConfigError(
            f"the stages '{other.name}' and '{step.name}' both name their rewrites '{asking.name}': "
            "give one of them another name, such as 'as: second'"
        )


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
