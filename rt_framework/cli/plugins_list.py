"""The output of ``rt plugins list``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint

import click

from rt_framework.cli.package_commands import load
from rt_framework.errors import PluginError
from rt_framework.jobs.looking.plugin_parts import ToldPackage, ToldPlugins, part_of
from rt_framework.kit.packages import packaged
from rt_framework.kit.stdout import own
from rt_framework.plugin import Host
from rt_framework.text import shown, without_secrets

_NOTHING = "No other plugins are installed."


def list_plugins(host: Host, commands: Sequence[EntryPoint], loading: bool) -> tuple[ToldPlugins, Mapping[str, str]]:
    """Return the built-in parts and what is installed, and the meaning of each command that could be loaded.

    Args:
        host: finds the plugins.
        commands: the installed commands.
        loading: whether to import everything that is installed; if not, its metadata alone is read.

    Raises:
        PluginError: a module that the user named as a plugin failed to load.
    """
    built_in = host.registry.entries()
    meanings, failures = {}, []
    if loading:
        host.load()
        failures += [str(failure) for failure in host.failed]
    for point in commands if loading else ():
        try:
            meanings[point.name] = load([point]).get_short_help_str(100)
        except PluginError as error:
            failures.append(str(error))
    told = ToldPlugins(
        built_in=tuple(map(part_of, built_in)),
        plugins=tuple(ToldPackage(one.name, one.package or None, one.version or None) for one in host.discovered()),
        commands=tuple(ToldPackage(point.name, *packaged(point)) for point in commands),
        parts=tuple(part_of(entry) for entry in host.registry.entries() if entry not in built_in) if loading else None,
        failures=tuple(map(without_secrets, failures)),
    )
    return told, meanings


def show_plugins(told: ToldPlugins) -> None:
    """Print the built-in parts and the packages that are installed, as help is printed; in a pipe no line is broken."""
    file = own()
    formatter = click.HelpFormatter(max_width=120) if file.isatty() else click.HelpFormatter(width=10_000)
    for title, rows in (
        ("Built in", [(f"{one.kind} {one.name}", one.help) for one in told.built_in]),
        ("Installed plugins", [(one.name, _origin(one)) for one in told.plugins]),
        ("Installed commands", [(one.name, _origin(one)) for one in told.commands]),
    ):
        if rows:
            with formatter.section(title):
                formatter.write_dl([(shown(name), shown(text)) for name, text in rows])
    load = "'rt plugins list --load' imports them and lists what they offer, 'rt plugins show NAME' one."
    click.echo(f"{formatter.getvalue()}\n{load if told.plugins or told.commands else _NOTHING}", file=file)


def _origin(one: ToldPackage) -> str:
    return f"{one.package or ''} {one.version or ''}"


def show_offers(told: ToldPlugins, meanings: Mapping[str, str]) -> None:
    """Print what the packages offer that were imported."""
    from rt_framework.terminal.printing import line, stdout, table

    console = stdout()
    rows = list(_offers(told, meanings))
    if rows:
        console.print(table("Installed", ("kind", "name", "what it is", "package", "version"), rows))
    elif not told.failures:
        console.print(_NOTHING)
    for failure in told.failures:
        console.print(line(failure))


def _offers(told: ToldPlugins, meanings: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """Yield kind, name, meaning, package and version of everything that installed packages offer."""
    packages = {one.name: (one.package or "", one.version or "") for one in told.plugins}
    for part in told.parts or ():
        yield part.kind, part.name, part.help, *packages.get(part.plugin, (part.plugin, ""))
    for one in told.commands:
        if one.name in meanings:
            yield "command", one.name, meanings[one.name], one.package or "", one.version or ""
