"""Options of a plugin, as its settings class declares them: once, for configs, command line, help and checks."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

from attrs import NOTHING, fields, frozen, resolve_types

_FORMS = {str: "TEXT", int: "INTEGER", float: "FLOAT", bool: "BOOLEAN"}


@frozen
class Option:
    """One field of a settings class."""

    name: str
    """The key that users write: what the class is called with, which has no leading underscore."""
    type: Any
    """The annotation, resolved."""
    shown: str
    """Its default, for people; ``required`` where one has to be given."""
    help: str
    """The docstring below the field."""

    @property
    def bare(self) -> Any:
        """The annotation without the ``None`` of an option that may be left out."""
        rest = [one for one in typing.get_args(self.type) if one is not type(None)]
        return rest[0] if len(rest) == 1 and type(None) in typing.get_args(self.type) else self.type

    @property
    def words(self) -> tuple[str, ...]:
        """The texts that may be given, where they are few."""
        found = typing.get_args(self.bare) if typing.get_origin(self.bare) is typing.Literal else ()
        return found if all(isinstance(word, str) for word in found) else ()

    @property
    def is_text(self) -> bool:
        """Whether what is given is taken word for word."""
        return self.bare is str or bool(self.words)

    @property
    def form(self) -> str:
        """What is written for it on a command line: one of some words, a plain value, or YAML as in a config."""
        return f"[{'|'.join(self.words)}]" if self.words else _FORMS.get(self.bare, "YAML")

    @property
    def kind(self) -> str:
        """The type, in a few words."""
        if self.words:
            return " or ".join(map(str, self.words))
        return getattr(self.type, "__name__", str(self.type)) if not typing.get_args(self.type) else str(self.type)


def options_of(settings: type | None) -> list[Option]:
    """The options of a settings class, in order; the first is the one that a value alone goes to.

    Raises:
        Exception: an annotation cannot be understood, or a default cannot be made.
    """
    if settings is None:
        return []
    resolved: Any = resolve_types(settings)
    told = dict(_told(settings))
    return [
        Option(one.alias, one.type, _default(one.default), told.get(one.name, ""))
        for one in fields(resolved)
        if one.init
    ]


def _default(value: Any) -> str:
    """A default, for people. One that takes the object is made of its other fields, and there is none yet."""
    if value is NOTHING:
        return "required"
    if not hasattr(value, "factory"):
        return value if value and isinstance(value, str) else repr(value)
    return "by the other options" if value.takes_self else repr(value.factory())


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
                yield line.target.id, " ".join(str(below.value.value).replace("``", "").split())
