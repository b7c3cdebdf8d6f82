"""The command ``rt plugins``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rt_framework.cli import _COMMANDS
from rt_framework.cli.json_option import json_option, print_json
from rt_framework.cli.names import completing, installed
from rt_framework.cli.package_commands import installed_commands
from rt_framework.hookspecs import KINDS, singular
from rt_framework.jobs.scaffold import KINDS as PARTS
from rt_framework.plugin import Host

if TYPE_CHECKING:
    from rt_framework.jobs.scaffold.package import Part


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, show, check or create plugins."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command("list")
@click.option("--load", is_flag=True, help="Import every installed plugin, and list the parts that it offers.")
@json_option
@click.pass_obj
def list_(host: Host, load: bool, as_json: bool) -> None:
    """List the built-in parts and the installed packages, from metadata; imports no installed plugin."""
    from rt_framework.cli.plugins_list import list_plugins, show_offers, show_plugins

    told, meanings = list_plugins(host, installed_commands(_COMMANDS), load)
    if as_json:
        print_json(told)
    elif load:
        show_offers(told, meanings)
    else:
        show_plugins(told)


def _parts_of(ctx: click.Context, parameter: click.Parameter, values: Sequence[str]) -> list[Part]:
    """Return the parts that ``--kind`` names; what writes packages is imported here, since only ``new`` needs it."""
    from rt_framework.cli.plugins_new import parts_of

    return parts_of(ctx, parameter, values)


@command.command()
@click.argument("name")
@click.option(
    "--kind",
    "parts",
    callback=_parts_of,
    shell_complete=completing(lambda: PARTS),
    multiple=True,
    default=("metric",),
    show_default=True,
    metavar="KIND[:PART]",
    help=f"Kind and name of a part; may be given more than once. One of {', '.join(PARTS)}.",
)
@click.pass_obj
def new(host: Host, name: str, parts: list[Part]) -> None:
    """Write a complete plugin package, with its tests, into the new folder NAME.

    Each --kind is one part of the package, called PART, or NAME without 'rt-': --kind metric:gain --kind command:gains.
    """
    from rt_framework.cli.plugins_new import write_new

    write_new(host, name, parts, [*_COMMANDS, *(point.name for point in installed_commands(_COMMANDS))])


@command.command()
@click.argument("name", shell_complete=completing(installed))
@json_option
@click.pass_obj
def show(host: Host, name: str, as_json: bool) -> None:
    """Show the plugin NAME, or every part of that name, with its options."""
    from rt_framework.cli.plugins_show import show_plugin, told_plugin

    told = told_plugin(host, name)
    if as_json:
        print_json(told)
    else:
        show_plugin(told)


@command.command()
@click.argument("name", shell_complete=completing(installed))
@click.option("--options", metavar="YAML", help="Options for parts that need some, as in a config: '{metric: ifd}'.")
@click.option("--only", type=click.Choice([*map(singular, KINDS)]), help="Check only parts of this kind.")
@click.pass_obj
def check(host: Host, name: str, options: str | None, only: str | None) -> int:
    """Check the plugin NAME, or every part of that name, by the contract of its kind. Exit code 1 if a check fails."""
    from rt_framework.cli.plugins_check import show_checks
    from rt_framework.kit.user_files import parse_yaml

    return int(not show_checks(host, name, None if options is None else parse_yaml(options, "--options"), only))
