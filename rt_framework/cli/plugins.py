"""The command ``rt plugins``."""

from __future__ import annotations

from pathlib import Path

import click

from rt_framework.hookspecs import singular
from rt_framework.jobs.scaffold import KINDS, write_package
from rt_framework.plugin import Host


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, show, check or create plugins."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command("list")
@click.pass_obj
def list_(host: Host) -> None:
    """List the built-in parts and the installed plugin packages. Imports no installed plugin."""
    from rt_framework.terminal import stdout, table

    console = stdout()
    entries = [(singular(entry.kind), entry.name, entry.help) for entry in host.registry.entries()]
    console.print(table("Built in", ("kind", "name", "what it is"), entries))
    rows = [(plugin.name, plugin.package, plugin.version) for plugin in host.discovered()]
    if rows:
        console.print(table("Installed plugins", ("plugin", "package", "version"), rows))
        console.print("'rt plugins show NAME' loads a plugin and lists what it offers.")
    else:
        console.print("No other plugins are installed.")


@command.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="metric",
    show_default=True,
    help="Kind of plugin that the package offers.",
)
@click.pass_obj
def new(host: Host, name: str, kind: str) -> None:
    """Write a complete plugin package, with its tests, into the new folder NAME."""
    folder = Path(name)
    known = {"builtin", *host.registry.names(f"{kind}s"), *(plugin.name for plugin in host.discovered())}
    for path in write_package(name, kind, folder, known):
        click.echo(path)
    click.echo(f"Next: cd {folder} && pip install -e '.[test]' && pytest")


@command.command()
@click.argument("name")
@click.pass_obj
def show(host: Host, name: str) -> None:
    """Show the plugin NAME, or every part of that name, with its options."""
    from rt_framework.cli.plugins_show import describe

    describe(host, name)


@command.command()
@click.argument("name")
@click.option("--options", metavar="YAML", help="Options for parts that need some, as in a config: '{metric: ifd}'.")
@click.option("--only", type=click.Choice(KINDS), help="Check only parts of this kind.")
@click.pass_obj
def check(host: Host, name: str, options: str | None, only: str | None) -> int:
    """Check the plugin NAME, or every part of that name, by the contract of its kind. Exit code 1 if a check fails."""
    from rt_framework.cli.plugins_check import show_checks
    from rt_framework.kit.user_files import parse_yaml

    return int(not show_checks(host, name, None if options is None else parse_yaml(options, "--options"), only))
