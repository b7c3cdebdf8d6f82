"""Specifications of plugins: a plugin's name and its options, as users write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from rt_framework.errors import ConfigError


class Given:
    """A part that a Python program gives as an object, in the place of a part's options.

    Args:
        part: the object.
    """

    def __init__(self, part: object) -> None:
        self.part = part

    def __repr__(self) -> str:
        return "given as an object"


@frozen
class Spec:
    """A plugin and its options, as users write them: ``hf:MODEL``, ``newest`` or ``{highest: ifd}``."""

    name: str
    options: Any = None

    @classmethod
    def of(cls, part: object) -> Spec:
        """Return the specification of a part that is there already, which is named by its class."""
        return cls(type(part).__name__, Given(part))

    @classmethod
    def parse(cls, value: object) -> Spec:
        """Parse a specification.

        Raises:
            ConfigError: the value is neither a name, nor ``name:value``, nor a mapping with one key.
        """
        if isinstance(value, Spec):
            return value
        if isinstance(value, str) and value.strip():
            name, colon, argument = value.partition(":")
            return cls(name, argument if colon else None)
        if isinstance(value, Mapping) and len(value) == 1:
            ((name, options),) = value.items()
            return cls(str(name), options)
        # The values of a mapping stay out of the message, because one of them may be a secret key.
        described = f"the keys {', '.join(map(str, value)) or '(none)'}" if isinstance(value, Mapping) else repr(value)
        raise ConfigError(f"expected a name, 'name:value' or one 'name: options', not {described}")

    def __str__(self) -> str:
        options = self.options
        if isinstance(options, Mapping):
            options = ", ".join(f"{key} {Spec._short(value)}" for key, value in options.items())
        elif isinstance(options, (list, tuple)):
            options = ", ".join(map(str, options))
        return self.name if options is None else f"{self.name} {options}"

    @staticmethod
    def _short(value: object) -> str:
        if isinstance(value, Mapping):
            return " ".join(f"{key} {Spec._short(item)}" for key, item in value.items())
        return str(value)
