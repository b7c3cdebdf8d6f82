"""The flag ``--json`` of the commands that look at something."""

from __future__ import annotations

from typing import Any

import click

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object for a program, and nothing else."
)
"""Flag ``--json`` of a command; the command gets ``as_json``."""


json_lines_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object a line for a program, and nothing else."
)
"""The same flag of a command that prints a list."""


def print_json(value: Any) -> None:
    """Print an object of plain values or attrs classes as JSON to standard output."""
    from rt_framework.kit.as_json import json_text
    from rt_framework.kit.stdout import own

    click.echo(json_text(value, indent=1), file=own())


def print_json_line(value: Any) -> None:
    """Print an object of a list as one line of JSON to standard output."""
    from rt_framework.kit.as_json import json_text
    from rt_framework.kit.stdout import own

    click.echo(json_text(value), file=own())
