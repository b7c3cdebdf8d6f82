"""Command line options of the plugins that a command line names: ``--student hf:M`` brings ``--student-dtype``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
from attrs import evolve

from rt_framework.kit.parts import Spec
from rt_framework.plugin import Option


class ChoosingCommand(click.Command):
    """A command with options that name plugins.

    Args:
        choices: kind of plugin by name of the option that names one, ``{"student": "students"}``.
    """

    def __init__(self, *args: Any, choices: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self._choices = choices

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the plugins that are named, and make their options options of this call."""
        # Shell completion calls this without a host.
        for name, kind in self._choices.items() if ctx.obj else ():
            default = next(one.default for one in self.params if one.name == name)
            value = _named(args, f"--{name}", default if isinstance(default, str) else None)
            if value is not None:
                entry = ctx.obj.find(kind, _spec(name, value).name)
                ctx.meta.setdefault(_FIELDS, {})[name] = entry.options()
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the options of the command, and those of the plugins that are named."""
        *own, help_ = super().get_params(ctx)
        named = ctx.meta.get(_FIELDS, {}).items()
        return [*own, *(_option(name, option) for name, options in named for option in options), help_]


def chosen(name: str, text: str) -> Spec:
    """Return the plugin that ``--NAME TEXT`` names, with the options of ``--NAME-…`` on the same command line.

    Raises:
        ConfigError: TEXT is no plugin name with options.
    """
    spec, meta = _spec(name, text), click.get_current_context().meta
    fields, given = (meta.get(key, {}).get(name) for key in (_FIELDS, _GIVEN))
    options = _plain(name, fields[0], spec.options) if fields and isinstance(spec.options, str) else spec.options
    if fields and given:
        options = options if isinstance(options, Mapping | None) else {fields[0].name: options}
        options = {**(options or {}), **given}
    return evolve(spec, options=options)


_FIELDS, _GIVEN = "rt_framework.fields", "rt_framework.given"
"""Keys in click's ``meta`` of a call for the options that plugins have, and for those that were given."""


def _spec(name: str, text: str) -> Spec:
    from rt_framework.config import spec_of

    return spec_of(text, f"--{name}")


def _named(args: Sequence[str], flag: str, default: str | None) -> str | None:
    """Return an option's value before parsing; its default if only options such as ``--student-dtype`` are given."""
    asked = False
    for at in reversed(range(len(args))):
        name, equals, value = args[at].partition("=")
        if name == flag and (equals or at + 1 < len(args)):
            return value if equals else args[at + 1]
        asked |= name.startswith(f"{flag}-")
    return default if asked else None


def _option(name: str, option: Option) -> click.Option:
    def keep(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta.setdefault(_GIVEN, {}).setdefault(name, {})[option.name] = _plain(name, option, value)

    default = "" if option.shown in ("required", "None") else f"  [default: {option.shown}]"
    return click.Option(
        [f"--{name}-{option.name.replace('_', '-')}", f"{name}__{option.name}"],
        type=click.Choice(option.words) if option.words else None,
        metavar=option.form,
        help=option.help + default,
        expose_value=False,
        callback=keep,
    )


def _plain(name: str, option: Option, value: str) -> Any:
    """Return the value of a text option unchanged, and any other value as YAML reads it."""
    from rt_framework.kit.user_files import parse_yaml

    return value if option.is_text else parse_yaml(value, f"--{name}-{option.name}")
