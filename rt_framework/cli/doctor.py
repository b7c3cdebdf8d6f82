"""``rt doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rt_framework.cli.chosen import ChoosingCommand, chosen
from rt_framework.host import Host


@click.command(cls=ChoosingCommand, choices={"student": "students"})
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--student", metavar="NAME:MODEL", help="Also load this student and score two words with it.")
@click.pass_obj
def command(host: Host, config: Path | None, student: str | None) -> int:
    """Say what works here and what is wrong: versions, device, plugins, and CONFIG if one is given."""
    from rt_framework.checks import check_config, check_device, check_plugins, check_student, check_versions
    from rt_framework.console import line, stdout, table

    checks: list[Any] = [check_versions, check_device, lambda: check_plugins(host)]
    if config is not None:
        checks.append(lambda: check_config(host, config))
    if student is not None:
        checks.append(lambda: check_student(host, chosen("student", student)))
    results = [result for check in checks for result in check()]
    console = stdout()
    console.print(table("Checks", ("", "what", "finding"), [(r.mark, r.what, r.finding) for r in results]))
    wrong = sum(not result.good for result in results)
    console.print(line("nothing is wrong" if not wrong else f"{wrong} wrong"))
    return 2 if wrong else 0
