"""Options of a plugin, as its settings class declares them: once, for configs, command line, help and checks."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

from attrs import NOTHING, Attribute, fields, frozen, resolve_types

from rt_framework.errors import PluginError


@frozen
class Option:
    """One field of a settings class."""

    name: str
    type: Any
    """The annotation, resolved."""
    default: Any
    """Its default, or ``attrs.NOTHING`` where one has to be given."""
    help: str
    """The docstring below the field."""

    @property
    def words(self) -> tuple[str, ...]:
        """The texts that may be given, where they are few."""
        return typing.get_args(self.type) if typing.get_origin(self.type) is typing.Literal else ()

    @property
    def is_text(self) -> bool:
        """Whether what is given is taken word for word."""
        return self.type is str or bool(self.words) or set(typing.get_args(self.type)) == {str, type(None)}

    @property
    def kind(self) -> str:
        """The type, in a few words."""
        if self.words:
            return " or ".join(map(str, self.words))
        return getattr(self.type, "__name__", str(self.type)) if not typing.get_args(self.type) else str(self.type)

    @property
    def shown(self) -> str:
        """The default, for people."""
        if self.default is NOTHING:
            return "required"
        return repr(self.default.factory()) if hasattr(self.default, "factory") else repr(self.default)


def options_of(settings: type | None) -> list[Option]:
    """The options of a settings class, in order; the first is the one that a value alone goes to.

    Raises:
        PluginError: an annotation cannot be understood.
    """
    if settings is None:
        return []
    try:
        resolved: Any = resolve_types(settings)
    except Exception as error:
        raise PluginError(f"settings {settings.__name__}: {type(error).__name__}: {error}") from error
    told = dict(_told(settings))
    return [_option(field, told.get(field.name, "")) for field in fields(resolved)]


def _option(field: Attribute[Any], told: str) -> Option:
    return Option(field.name, field.type, field.default, told)


def _told(settings: type) -> Iterator[tuple[str, str]]:
    """Each field with the docstring below it, those of parents first. Without source there is none."""
    for cls in reversed(settings.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
        except (OSError, TypeError, SyntaxError):
            continue
        body = next((node.body for node in tree.body if isinstance(node, ast.ClassDef)), [])
        for line, below in itertools.pairwise(body):
            if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                yield line.target.id, " ".join(str(below.value.value).split())
