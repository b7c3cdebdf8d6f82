"""The command line ``rt``. Every command is a module of its own, imported when the command is called."""

from __future__ import annotations

import errno
import importlib
import sys
from typing import TYPE_CHECKING, Any

import click

from rt_framework.cli.package_commands import installed_commands, load, package_of
from rt_framework.errors import ConfigError, ErrorList, PluginError, RtError, described
from rt_framework.text import shown, suggestion, without_secrets

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["main", "rt"]

_COMMANDS = {
    "run": "Run the job of a config, or resume it.",
    "pilot": "Run a few random rows, and forecast the cost of all.",
    "retry": "Ask again for rewrites that failed.",
    "reparse": "Parse the stored answers again; send nothing.",
    "score": "Score every sample of a data set.",
    "reflect": "Rewrite every sample of a data set once.",
    "answer": "Let a student answer every sample of a data set.",
    "answers": "Export or check the answers of a run's teachers.",
    "select": "Select samples by scores from 'rt score'.",
    "merge": "Merge the runs of all shards.",
    "salvage": "Recover the readable part of a damaged ledger.",
    "export": "Write the result of a run in another format.",
    "status": "Show counts, cost and failures of a run.",
    "report": "Write a run as one HTML page.",
    "samples": "List the samples of a run, filtered and ordered.",
    "explain": "Show what became of one sample, and why.",
    "review": "Accept or veto rewrites of a run, one by one.",
    "plugins": "List, show, check or create plugins.",
    "doctor": "Check the installation, a config or a data set.",
    "init": "Write a commented config to start from.",
}

_FROM_PACKAGES = {"compare": "rt-compare", "prove": "rt-prove"}
"""Commands that are not built in, with the package of this project that brings each."""

FAULT = 70
"""Exit code after a bug in this program, with a traceback. Python's own code, 1, here means too many failed samples."""


class _Group(click.Group):
    """The group of all commands: knows them by name, and imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *(point.name for point in installed_commands(_COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module = importlib.import_module(f"rt_framework.cli.{cmd_name}")
            command: click.Command = module.command
            return command
        points = [point for point in installed_commands(_COMMANDS) if point.name == cmd_name]
        if points and ctx.resilient_parsing:
            return click.Command(cmd_name)  # a press of the tab key runs no code of a package
        return load(points) if points else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))
        packages = installed_commands(_COMMANDS)
        if packages:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(point.name, f"from {package_of(point)}") for point in packages])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return the commands and options that begin with *incomplete*. A group of Click would import every command."""
        from click.shell_completion import CompletionItem

        commands = {**_COMMANDS, **{point.name: f"from {package_of(point)}" for point in installed_commands(_COMMANDS)}}
        items = [CompletionItem(name, help=text) for name, text in commands.items() if name.startswith(incomplete)]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return self._blamed(ctx)
        except Exception as error:
            if ctx.params["debug"] and _one_line(error) is not None:
                _show_traceback()
            raise

    def _blamed(self, ctx: click.Context) -> Any:
        """Call the command; an unforeseen error in a command of a package is an error of that package."""
        try:
            return super().invoke(ctx)
        except (RtError, click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            points = [point for point in installed_commands(_COMMANDS) if point.name == ctx.invoked_subcommand]
            if not points:
                raise
            raise PluginError(
                f"command '{points[0].name}' of package '{package_of(points[0])}' failed: {described(error)}"
            ) from error

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            package = _FROM_PACKAGES.get(args[0])
            if package is not None:
                raise ConfigError(f"'rt {args[0]}' comes with a package of its own: pip install {package}") from None
            known = self.list_commands(ctx)
            raise click.UsageError(f"no command '{args[0]}'.{suggestion(args[0], known)}", ctx) from None


@click.command(cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-p",
    "plugins",
    multiple=True,
    type=click.Path(),
    metavar="MODULE|FILE.py|no:NAME",
    help="Load a module or a file as a plugin, or leave a plugin out. Loading a plugin runs its code.",
)
@click.option("--strict-plugins", is_flag=True, help="Fail when any plugin fails to load, used or not.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error, before the line that describes it.")
@click.version_option(package_name="rt-framework", prog_name="rt")
@click.pass_context
def rt(ctx: click.Context, plugins: tuple[str, ...], strict_plugins: bool, debug: bool) -> None:
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
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nInterrupted. Everything committed so far is kept; the same command resumes.", err=True)
        code = 130
    except Exception as error:
        code = _complain(error)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(error: Exception) -> int:
    """Print an error, in one line if the user can act on it; return the exit code."""
    message = _one_line(error)
    if message is None:
        _show_traceback()
        return FAULT
    # Only a list of faults has more lines than one; what a plugin or a file says is brought into one.
    lines = message.split("\n") if isinstance(error, ErrorList) else [message]
    told = "\n  ".join(" ".join(line.split()) for line in lines)
    # Names from data and plugins in the message may carry terminal escapes.
    click.echo(f"Error: {shown(without_secrets(told))}", err=True)
    return error.exit_code if isinstance(error, RtError | click.ClickException) else 2


def _one_line(error: Exception) -> str | None:
    """Return the message of an error that the user can act on; ``None`` for any other. A path may be impossible."""
    if isinstance(error, click.ClickException):
        return error.format_message() + _help_of(error)
    if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        path = str(error.filename)
        short = path if len(path) < 300 else path[:100] + "…" + path[-100:]
        return f"{short}: {error.strerror}; name another path"
    return str(error) if isinstance(error, RtError) else None


def _show_traceback() -> None:
    """Print the traceback of the exception that is being handled, without secrets."""
    import traceback

    click.echo(shown(without_secrets(traceback.format_exc())), err=True)


def _help_of(error: click.ClickException) -> str:
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    stop = "" if error.format_message().endswith((".", "?")) else "."
    return f"{stop} See '{ctx.command_path} --help'." if ctx is not None else ""
