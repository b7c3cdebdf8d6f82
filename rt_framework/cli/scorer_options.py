"""Options of commands that score: metrics, students, and how a pair is put before them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import click

from rt_framework.cli.names import name_option, parts
from rt_framework.cli.plugin_options import chosen
from rt_framework.cli.scoring_options import max_tokens_option, preset_option, template_option
from rt_framework.kit.parts import Spec

CHOICES = {"student": "students", "template": "templates", "executor": "executors"}
"""Kinds of the plugins that these options name, for :class:`rt_framework.cli.plugin_options.ChoosingCommand`."""

_OPTIONS = (
    preset_option,
    template_option,
    max_tokens_option,
    name_option(
        "--student",
        names=parts("students"),
        metavar="NAME:MODEL",
        help="Student whose losses are read: hf:HUB_ID, hf:DIR or hf:FILE.gguf.",
    ),
    click.option(
        "--student-also",
        "students",
        multiple=True,
        metavar="NAME=STUDENT",
        help="Further student, whose losses the metric METRIC@NAME reads; may be given more than once.",
    ),
    name_option(
        "--executor",
        names=parts("executors"),
        default="local",
        show_default=True,
        help="Executor of the student's work; processes uses every GPU.",
    ),
    name_option(
        "--metric",
        "metrics",
        names=parts("metrics"),
        multiple=True,
        metavar="METRIC",
        help="Metric to compute, METRIC@NAME for another student, or NAME={METRIC: OPTIONS}; may be given more than "
        "once; default: the preset's.",
    ),
)


def scorer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets ``scorers``, a :class:`rt_framework.jobs.scoring.Scorers`."""

    @functools.wraps(command)
    def gathered(
        *args: Any,
        preset: str,
        template: str | None,
        max_tokens: int | None,
        student: str | None,
        students: tuple[str, ...],
        executor: str,
        metrics: tuple[str, ...],
        **options: Any,
    ) -> Any:
        from rt_framework.config import ScoringConfig
        from rt_framework.jobs.scoring import Scorers
        from rt_framework.scoring import ScoringRules

        framed = chosen("template", template) if template else None
        config = ScoringConfig(preset, framed, max_tokens, executor=chosen("executor", executor))
        scorers = Scorers(
            metrics=tuple(text.partition("=")[0] for text in metrics) or ScoringRules.of(config).preset.metrics,
            student=chosen("student", student) if student else None,
            config=config,
            students=_named(students, "student-also"),
            options=_named(tuple(text for text in metrics if "=" in text), "metric"),
        )
        return command(*args, scorers=scorers, **options)

    return functools.reduce(lambda made, add: add(made), reversed(_OPTIONS), gathered)


def _named(texts: Sequence[str], option: str) -> dict[str, Spec]:
    """Return the plugins that repeated options ``--OPTION NAME=PLUGIN`` name, by name.

    Raises:
        ConfigError: a text is not of that form, or a name is given twice.
    """
    from rt_framework.config import spec_of
    from rt_framework.errors import ConfigError

    parts: dict[str, Spec] = {}
    for text in texts:
        name, equals, part = text.partition("=")
        if not (name and equals and part) or name in parts:
            raise ConfigError(f"--{option} {text}: expected NAME=PLUGIN, and each NAME once")
        parts[name] = spec_of(part, f"--{option}")
    return parts
