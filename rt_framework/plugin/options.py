"""Options of a plugin, declared once by its settings class, for configs, command line, help and checks."""

from __future__ import annotations

import keyword
import typing
from typing import Any

from attrs import NOTHING, fields, frozen, resolve_types

from rt_framework.kit.field_texts import field_texts

_FORMS = {str: "TEXT", int: "INTEGER", float: "FLOAT", bool: "BOOLEAN"}


@frozen
class Option:
    """One field of a settings class."""

    name: str
    """The key that users write: see :func:`key_of`."""
    type: Any
    """The annotation, resolved."""
    shown: str
    """The default as text for people; ``required`` where a value has to be given."""
    help: str
    """The docstring below the field."""

    @property
    def bare(self) -> Any:
        """The annotation without the ``None`` of an option that may be left out."""
        arguments = [argument for argument in typing.get_args(self.type) if argument is not type(None)]
        return arguments[0] if len(arguments) == 1 and type(None) in typing.get_args(self.type) else self.type

    @property
    def words(self) -> tuple[str, ...]:
        """The texts that are allowed, if the option takes one of a few; else empty."""
        allowed = typing.get_args(self.bare) if typing.get_origin(self.bare) is typing.Literal else ()
        return allowed if all(isinstance(word, str) for word in allowed) else ()

    @property
    def is_text(self) -> bool:
        """Return whether the given text is taken literally."""
        return self.bare is str or bool(self.words)

    @property
    def form(self) -> str:
        """The form of a value on a command line: one of some words, a plain value, or YAML as in a config."""
        return f"[{'|'.join(self.words)}]" if self.words else _FORMS.get(self.bare, "YAML")

    @property
    def kind(self) -> str:
        """The type, in a few words."""
        if self.words:
            return " or ".join(map(str, self.words))
        return getattr(self.type, "__name__", str(self.type)) if not typing.get_args(self.type) else str(self.type)


def key_of(field: Any) -> str:
    """Return the key that users write for a field of settings: the name of the class's argument.

    A key that is a word of Python has an underscore behind it there: ``as_`` is written as ``as``.
    """
    key = str(field.alias)
    return key[:-1] if key.endswith("_") and keyword.iskeyword(key[:-1]) else key


def options_of(settings: type | None) -> list[Option]:
    """Return the options of a settings class, in order. A value without a name is that of the first one.

    Raises:
        Exception: an annotation cannot be understood, or a default cannot be made.
    """
    if settings is None:
        return []
    resolved: Any = resolve_types(settings)
    help_texts = {name: text.replace("``", "") for name, text in field_texts(settings).items()}
    return [
        Option(key_of(field), field.type, _default(field.default), help_texts.get(field.name, ""))
        for field in fields(resolved)
        if field.init
    ]


def _default(value: Any) -> str:
    """Return a default as text for people. One that is computed from the other options has no value yet."""
    if value is NOTHING:
        return "required"
    if not hasattr(value, "factory"):
        return value if value and isinstance(value, str) else repr(value)
    return "by the other options" if value.takes_self else repr(value.factory())
