"""The command line ``rt``. Every command is a module of its own, imported when the command is called."""

from __future__ import annotations

import errno
import importlib
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from rt_framework.errors import PluginError, RtError
from rt_framework.kit.stdout import others_to_stderr
from rt_framework.text import shown, suggestion, without_secrets

__all__ = ["main", "rt"]

_COMMANDS = {
    "run": "Run the job of a config, or resume it.",
    "pilot": "Run a few random rows, and forecast the cost of all.",
    "retry": "Ask again for rewrites that failed.",
    "reparse": "Parse the stored answers again; send nothing.",
    "score": "Score every sample of a data set.",
    "reflect": "Rewrite every sample of a data set once.",
    "select": "Select samples by scores from 'rt score'.",
    "compare": "Compare two data sets.",
    "merge": "Merge the runs of all shards.",
    "salvage": "Recover the readable part of a damaged ledger.",
    "export": "Write the result of a run in another format.",
    "status": "Show counts, cost and failures of a run.",
    "report": "Write a run as one HTML page.",
    "explain": "Show the whole history of one sample.",
    "plugins": "List, show, check or create plugins.",
    "doctor": "Check the installation, a config or a data set.",
    "init": "Write a commented config to start from.",
}
_PLUGIN_GROUP = "rt_framework.commands"

FAULT = 70
"""Exit code after a bug in this program, with a traceback. Python's own code, 1, here means too many failed samples."""


class _Group(click.Group):
    """The group of all commands: knows them by name, and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *sorted(point.name for point in _plugin_commands())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module = importlib.import_module(f"rt_framework.cli.{cmd_name}")
            command: click.Command = module.command
            return command
        points = [point for point in _plugin_commands() if point.name == cmd_name]
        return _load(points) if points else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))
        plugins = _plugin_commands()
        if plugins:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(point.name, f"from {_package(point)}") for point in plugins])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (RtError, click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            points = [point for point in _plugin_commands() if point.name == ctx.invoked_subcommand]
            if not points:
                raise
            at = traceback.extract_tb(error.__traceback__)[-1]
            raise PluginError(
                f"command '{points[0].name}' of package '{_package(points[0])}' failed: "
                f"{type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno})"
            ) from error

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            known = self.list_commands(ctx)
            raise click.UsageError(f"no command '{args[0]}'.{suggestion(args[0], known)}", ctx) from None


def _plugin_commands() -> list[metadata.EntryPoint]:
    """Return the commands of plugins, sorted by name. A package that is found twice on the path counts once."""
    points = {(point.name, point.value): point for point in metadata.entry_points(group=_PLUGIN_GROUP)}
    return sorted((point for point in points.values() if point.name not in _COMMANDS), key=lambda point: point.name)


def _package(point: metadata.EntryPoint) -> str:
    from rt_framework.plugin import packaged

    return packaged(point)[0] or "?"


def _load(points: Sequence[metadata.EntryPoint]) -> click.Command:
    """Import a plugin's command.

    Raises:
        PluginError: two packages offer the command, or it cannot be imported.
    """
    name, packages = points[0].name, " and ".join(f"'{_package(point)}'" for point in points)
    if len(points) > 1:
        raise PluginError(f"command '{name}' is offered by packages {packages}; uninstall one of them")
    try:
        with others_to_stderr():
            command = points[0].load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"command '{name}' of package {packages} failed to load from {points[0].value}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(command, click.Command):
        raise PluginError(f"command '{name}' of package {packages}: {points[0].value} is no Click command")
    return command


@click.command(cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-p",
    "plugins",
    multiple=True,
    metavar="MODULE|FILE.py|no:NAME",
    help="Load a module or a file as a plugin, or leave a plugin out. Loading a plugin runs its code.",
)
@click.option("--strict-plugins", is_flag=True, help="Fail when any plugin fails to load, used or not.")
@click.version_option(package_name="rt-framework", prog_name="rt")
@click.pass_context
def rt(ctx: click.Context, plugins: tuple[str, ...], strict_plugins: bool) -> None:
    """Better instruction-tuning data, decided by the model that will learn from it.

    Start with 'rt init', then 'rt run rt.yaml'. RT_LOAD_PLUGINS=a,b loads only those plugins; empty loads none.
    """
    from rt_framework.cli.make_host import make_host

    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    ctx.obj = make_host(plugins, strict_plugins)


def main() -> None:
    """Run the command line; turn an error that the user can act on into one line and an exit code."""
    try:
        code = rt.main(prog_name="rt", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        code = exit_.exit_code
    except click.ClickException as error:
        _complain(error.format_message() + _help_of(error))
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nInterrupted. Everything committed so far is kept; the same command resumes.", err=True)
        code = 130
    except RtError as error:
        _complain(str(error))
        code = error.exit_code
    except Exception as error:
        code = _fault(error)
    sys.exit(code if isinstance(code, int) else 0)


def _fault(error: Exception) -> int:
    """Report an unforeseen error; return the exit code. A path that no system can have counts as the user's error."""
    if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        path = str(error.filename)
        _complain(f"{path if len(path) < 300 else path[:100] + '…' + path[-100:]}: {error.strerror}; name another path")
        return 2
    click.echo(shown(without_secrets(traceback.format_exc())), err=True)
    return FAULT


def _complain(message: str) -> None:
    """Print an error as one safe line: names from data and plugins in the message may carry terminal escapes."""
    click.echo(f"Error: {shown(without_secrets(' '.join(message.split())))}", err=True)


def _help_of(error: click.ClickException) -> str:
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    stop = "" if error.format_message().endswith((".", "?")) else "."
    return f"{stop} See '{ctx.command_path} --help'." if ctx is not None else ""
