"""A job, opened from its config: its stages, its input and its outlet, all checked to fit together.

Nothing is paid for here, so a failure at this point costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import asdict, frozen

from rt_framework.config import Builder, Config
from rt_framework.data import Source, open_source
from rt_framework.errors import ConfigError, PluginError, RtError, described
from rt_framework.kit.parts import Spec
from rt_framework.model import Pair, digest
from rt_framework.pipeline.steps import Step, apart, kind_of, label
from rt_framework.plugin import Host
from rt_framework.protocols import FittedMetric
from rt_framework.rundir import Outlet, open_outlet
from rt_framework.teacher import rendered

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
            raise PluginError(f"reflection '{name}' cannot ask about a plain pair: {described(error)}") from error
        facts[f"reflection {name}"] = digest(asked)
    return facts
