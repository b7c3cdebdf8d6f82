"""The command ``rt doctor``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rt_framework.cli.data_options import hub_options, pairs, reading_options
from rt_framework.cli.json_option import json_option, print_json
from rt_framework.cli.names import name_option, parts
from rt_framework.cli.numbers import Whole
from rt_framework.cli.plugin_options import ChoosingCommand, chosen
from rt_framework.cli.sample_options import turn_options, unreadable_option
from rt_framework.cli.scoring_options import max_tokens_option, preset_option, template_option
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.model import Finding


@click.command(cls=ChoosingCommand, choices={"student": "students", "template": "templates"})
@click.argument("subject", metavar="[CONFIG|DATA]", type=click.Path(), required=False)
@name_option(
    "--student",
    names=parts("students"),
    metavar="NAME:MODEL",
    help="Also load this student and score with it.",
)
@preset_option
@template_option
@max_tokens_option
@click.option(
    "-n", "--sample", type=Whole(1), default=64, show_default=True, help="Number of samples of DATA to score."
)
@click.option("--seed", type=Whole(), default=0, show_default=True, help="Seed of the random draw.")
@click.option(
    "--ask", is_flag=True, help="Also put a few short questions to each teacher of CONFIG, which may be billed."
)
@json_option
@reading_options
@hub_options
@turn_options
@unreadable_option
@click.pass_obj
def command(
    host: Host,
    /,
    subject: str | None,
    student: str | None,
    preset: str,
    template: str | None,
    max_tokens: int | None,
    sample: int,
    seed: int,
    ask: bool,
    as_json: bool,
    format_: str | None,
    shape: str | None,
    columns: tuple[str, ...],
    **further: Any,
) -> int:
    """Check this installation: versions, device and plugins, and CONFIG or DATA if one is given.

    With --student and DATA a few samples of DATA are scored, to check that student, template and data fit together
    before you score all of it. A file that ends in .yaml or .yml is a CONFIG. Nothing is written.
    """
    from rt_framework.config import Data, ScoringConfig
    from rt_framework.jobs import install_checks as checks
    from rt_framework.jobs import sample_checks

    who = None if student is None else chosen("student", student)
    looks: list[Callable[[], Iterator[Finding]]] = [
        checks.check_versions,
        checks.check_device,
        lambda: checks.check_plugins(host),
    ]
    is_config = subject is not None and Path(subject).suffix in (".yaml", ".yml")
    if ask and not is_config:
        raise click.UsageError("--ask needs a CONFIG, which names the teachers: rt doctor CONFIG --ask")
    if subject is not None and is_config:
        looks += _of_config(host, Path(subject), ask)
    elif subject is not None:
        data = Data(subject, format_, shape, pairs(columns, "--column"), **further)
        rules = ScoringConfig(preset, chosen("template", template) if template else None, max_tokens)
        looks.append(lambda: sample_checks.check_sample(host, data, who, rules, sample, seed))
    if who is not None and (subject is None or is_config):
        looks.append(lambda: checks.check_student(host, who))
    return _show((finding for look in looks for finding in look()), as_json)


def _show(findings: Iterable[Finding], as_json: bool) -> int:
    """Print the findings; return the exit code."""
    from rt_framework.jobs.looking.findings import told_findings
    from rt_framework.terminal.findings import show_findings, watched

    found = list(watched(findings))
    if as_json:
        print_json(told_findings(found))
    else:
        show_findings(found)
    return 0 if all(one.good for one in found) else 2


def _of_config(host: Host, path: Path, ask: bool) -> list[Callable[[], Iterator[Finding]]]:
    """Return the checks of a config; with *ask* also those that put questions to its teachers."""
    from rt_framework.jobs import config_checks, teacher_checks

    checks = [config_checks.check_config, *([teacher_checks.check_teachers] if ask else [])]
    return [partial(check, host, path) for check in checks]
