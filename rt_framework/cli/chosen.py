"""Options of the plugins that a command line names: ``--student hf:MODEL`` brings ``--student-dtype``.

They come from the plugin's settings class, so a stranger's plugin has them as a built-in one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
from attrs import evolve

from rt_framework.options import Option
from rt_framework.spec import Spec


class ChoosingCommand(click.Command):
    """A command with options that name plugins.

    Args:
        choices: kind of plugin by name of the option that names one, ``{"student": "students"}``.
    """

    def __init__(self, *args: Any, choices: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self._choices = choices

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find out which plugins are named; their options are options of this call."""
        # A shell that completes words has no host.
        for name, kind in self._choices.items() if ctx.obj else ():
            value = self._value(args, name)
            if value is not None:
                entry = ctx.obj.find(kind, _spec(name, value).name)
                ctx.meta.setdefault(_FIELDS, {})[name] = entry.options()
        return super().parse_args(ctx, args)

    def _value(self, args: Sequence[str], name: str) -> str | None:
        """What is given for an option before anything is parsed; its default where options of that are given."""
        given = _values(args, f"--{name}")
        if given:
            return given[-1]
        default = next(one.default for one in self.params if one.name == name)
        asked = any(arg.startswith(f"--{name}-") for arg in args)
        return default if asked and isinstance(default, str) else None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own, and those of the plugins named."""
        *own, help_ = super().get_params(ctx)
        named = ctx.meta.get(_FIELDS, {}).items()
        return [*own, *(_option(name, option) for name, options in named for option in options), help_]


def chosen(name: str, text: str) -> Spec:
    """The plugin that ``--NAME TEXT`` names, with the options given for it beside.

    Raises:
        ConfigError: TEXT is no name with options.
    """
    spec, meta = _spec(name, text), click.get_current_context().meta
    given = meta.get(_GIVEN, {}).get(name, {})
    first = next(iter(meta.get(_FIELDS, {}).get(name, ())), None)
    options = spec.options
    if first is None:
        return spec
    if isinstance(options, str) and (given or not first.is_text):
        options = {first.name: _plain(name, first, options)}
    elif given and not isinstance(options, Mapping | None):
        options = {first.name: options}
    return evolve(spec, options={**(options or {}), **given} if given else options)


_FIELDS, _GIVEN = "rt_framework.fields", "rt_framework.given"
"""Where a call keeps the options that there are, and those that were given, by the name of the option."""


def _spec(name: str, text: str) -> Spec:
    from rt_framework.config import spec_of

    return spec_of(text, f"--{name}")


def _values(args: Sequence[str], option: str) -> list[str]:
    """What is given for an option, in order, before anything is parsed."""
    found = []
    for at, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name == option and (equals or at + 1 < len(args)):
            found.append(value if equals else args[at + 1])
    return found


def _option(name: str, option: Option) -> click.Option:
    def keep(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta.setdefault(_GIVEN, {}).setdefault(name, {})[option.name] = _plain(name, option, value)

    flag = f"--{name}-{option.name.replace('_', '-')}"
    accepted = click.Choice(option.words) if option.words else None
    default = "" if option.shown == "required" else f"  [default: {option.shown}]"
    return click.Option(
        [flag, f"{name}__{option.name}"],
        type=accepted,
        metavar=None if accepted else option.kind.upper(),
        help=option.help.replace("``", "") + default,
        expose_value=False,
        callback=keep,
    )


def _plain(name: str, option: Option, value: str) -> Any:
    """A text as it stands, anything else as YAML reads it."""
    from rt_framework.config import parse_yaml

    return value if option.is_text else parse_yaml(value, f"--{name}-{option.name}")
