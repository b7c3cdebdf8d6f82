"""Names on the command line: help lists the built-in ones, and a shell completes them. Neither imports a plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rt_framework.plugin import Host

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])

Names = Callable[[], Iterable[str]]
"""Function that returns names. It is called where they are shown, because most calls of a command show none."""


def name_option(*declarations: str, names: Names, **options: Any) -> Callable[[F], F]:
    """Add an option whose value is a name, as ``click.option`` adds any option.

    The help of the option ends with the built-in names, and a shell completes them.

    Args:
        declarations: as for ``click.option``, and so are *options*.
        names: returns the built-in names; :func:`parts` gives those of a kind of plugin.
    """
    return click.option(*declarations, cls=_NameOption, names=names, shell_complete=completing(names), **options)


class _NameOption(click.Option):
    """An option whose help ends with names."""

    def __init__(self, *args: Any, names: Names, **options: Any) -> None:
        self._names = names
        super().__init__(*args, **options)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the forms of the option and its help, the names included; ``None`` if the option is hidden."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        forms, text = record
        told = self.help or ""
        return forms, text.replace(told, f"{told} Built in: {', '.join(self._names())}.".lstrip(), 1)


def completing(names: Names) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]:
    """Return the function that Click calls to complete a value to one of these names, its ``shell_complete``."""

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in names() if name.startswith(incomplete)]

    return complete


def parts(kind: str) -> Names:
    """Return a function that returns the names of the built-in parts of one kind, such as ``metrics``."""
    return partial(_parts, kind)


@cache
def _parts(kind: str) -> list[str]:
    return Host(only=()).registry.names(kind)


def shapes() -> Iterable[str]:
    """Return the names of the shapes."""
    from rt_framework.data import SHAPES

    return SHAPES


def known(host: Host) -> list[str]:
    """Return the names of the parts that a host has loaded, and of all installed plugins."""
    return sorted({entry.name for entry in host.registry.entries()} | {plugin.name for plugin in host.discovered()})


def installed() -> list[str]:
    """Return the names of the built-in parts and of the installed plugins."""
    from rt_framework.cli.make_host import make_host

    return known(make_host((), strict=False))
