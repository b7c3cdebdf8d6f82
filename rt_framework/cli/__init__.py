"""The command line. Every command is a module of its own, imported when it is called."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from typing import Any

import click

from rt_framework.errors import RtError

_COMMANDS = {
    "run": "Run a whole job, or go on with one.",
    "score": "Score a data set by metrics of the student.",
    "reflect": "Ask the teacher for one kind of rewrite.",
    "select": "Select samples by scores that were computed before.",
    "export": "Write the result of a run in another format.",
    "status": "Show counts, cost and failures of a run.",
    "explain": "Tell one sample's whole story.",
    "plugins": "List what is installed, or show one part.",
    "doctor": "Say what works here and what is wrong.",
    "init": "Write a commented config to start from.",
}
_PLUGIN_GROUP = "rt_framework.commands"


class _Group(click.Group):
    """Knows its commands by name; imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *sorted(point.name for point in _plugin_commands())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module = importlib.import_module(f"rt_framework.cli.{cmd_name}")
            command: click.Command = module.command
            return command
        for point in _plugin_commands():
            if point.name == cmd_name:
                return _load(point)
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))
        plugins = _plugin_commands()
        if plugins:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(
                    [(point.name, f"from {point.dist.name if point.dist else '?'}") for point in plugins]
                )

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from rt_framework.registry import suggestion

        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            known = self.list_commands(ctx)
            raise click.UsageError(f"no command '{args[0]}'.{suggestion(args[0], known)}", ctx) from None


def _plugin_commands() -> list[metadata.EntryPoint]:
    points = metadata.entry_points(group=_PLUGIN_GROUP)
    return sorted((point for point in points if point.name not in _COMMANDS), key=lambda point: point.name)


def _load(point: metadata.EntryPoint) -> click.Command:
    try:
        command: click.Command = point.load()
    except Exception as error:
        raise RtError(
            f"command '{point.name}' ({point.value}) failed to load: {type(error).__name__}: {error}"
        ) from error
    return command


@click.command(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-p",
    "plugins",
    multiple=True,
    metavar="MODULE|no:NAME",
    help="Load a module as a plugin, or leave a plugin out. Loading a plugin runs its code.",
)
@click.option("--strict-plugins", is_flag=True, help="Fail when any plugin fails to load, used or not.")
@click.version_option(package_name="rt-framework", prog_name="rt")
@click.pass_context
def rt(ctx: click.Context, plugins: tuple[str, ...], strict_plugins: bool) -> None:
    """Better instruction-tuning data, decided by the model that will learn from it.

    Start with 'rt init', then 'rt run rt.yaml'. RT_LOAD_PLUGINS=a,b loads only those plugins; empty loads none.
    """
    from rt_framework.cli.common import make_host

    ctx.obj = make_host(plugins, strict_plugins)


def main() -> None:
    """Run the command line; an error the user can act on is one line and an exit code."""
    try:
        code = rt.main(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nInterrupted; what was committed stays. The same command goes on from there.", err=True)
        code = 130
    except RtError as error:
        click.echo(f"Error: {' '.join(str(error).split())}", err=True)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)
