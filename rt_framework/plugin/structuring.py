"""Strict conversion of plain values to attrs objects: an error names the path of the key and what was expected.

cattrs is imported where it is used, since help and lists convert nothing.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import fields
from attrs import has as is_attrs

from rt_framework.errors import ConfigError
from rt_framework.kit.bounds import unfit
from rt_framework.kit.parts import Spec
from rt_framework.plugin.options import key_of
from rt_framework.text import suggestion

if TYPE_CHECKING:
    import cattrs

T = TypeVar("T")
_Hook = Callable[[Any, Any], Any]

_KINDS: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
}


def structure(value: object, cls: type[T], path: str = "") -> T:
    """Return *value* as an attrs object.

    A class may have a class method ``shorthand`` that turns what users may write for short into its mapping.
    Numbers that cannot be computed with are refused before the class sees them, whatever its own validators check.

    Raises:
        ConfigError: one line with the path of the first key that is wrong.
    """
    try:
        _check_numbers(value, [path] if path else [])
        return _converter().structure(value, cls)
    except _Unfit as error:
        raise ConfigError(str(error)) from None
    except (Exception, SystemExit) as error:  # a plugin's own converter or validator may even exit
        where, message = _first(error, [path] if path else [])
        raise ConfigError(f"{'.'.join(where)}: {message}" if where else message) from error


def field_names(cls: Any) -> list[str]:
    """Return the keys of an attrs class, in order: its arguments, without the fields that it computes by itself."""
    return [key_of(attribute) for attribute in fields(cls) if attribute.init]


class _Unfit(Exception):
    """A number that is refused, with its path."""


def _check_numbers(value: object, path: list[str]) -> None:
    """Refuse infinities, NaN and whole numbers beyond 64 bits, anywhere in plain values.

    Raises:
        _Unfit: there is such a number.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_numbers(inner, [*path, str(key)])
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            _check_numbers(inner, [*path, str(index)])
    elif isinstance(value, (int, float)):
        reason = unfit(value)
        if reason:
            raise _Unfit(f"{'.'.join(path)}: expected a finite number of at most 64 bits, not {reason}".lstrip(": "))


# --- what is accepted -------------------------------------------------------------------------


@cache
def _converter() -> cattrs.Converter:
    """Return the converter, made once: it generates code for each class that it meets."""
    import cattrs
    from cattrs.gen import make_mapping_structure_fn

    converter = cattrs.Converter(forbid_extra_keys=True)
    read_tuple = converter.get_structure_hook(tuple[str, ...], cache_result=False)
    factories: tuple[tuple[Callable[[Any], bool], Callable[[Any], _Hook]], ...] = (
        (lambda cls: typing.get_origin(cls) is tuple, lambda _: _checked(read_tuple, (list, tuple), "a list")),
        (
            lambda cls: typing.get_origin(cls) is dict,
            lambda cls: _checked(make_mapping_structure_fn(cls, converter), Mapping, "a mapping"),
        ),
        (lambda cls: typing.get_origin(cls) is typing.Literal, _literal),
        (_is_scalar_union, lambda cls: _scalar(*typing.get_args(cls))),
        (is_attrs, lambda cls: _attrs(cls, converter)),
    )
    for accepts, make in factories:
        converter.register_structure_hook_factory(accepts, make)
    for kind in (str, int, float, bool):
        converter.register_structure_hook(kind, _scalar(kind))
    converter.register_structure_hook(Spec, lambda value, _: Spec.parse(value))
    return converter


def _shown(value: object) -> str:
    """Return a value as text for a message, without what is in a mapping or list: that may be long, or an API key."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Spec):
        return f"an object ({value}): here only plain values can stand"
    return "a list" if isinstance(value, (list, tuple)) else repr(value)


def _checked(read: _Hook, accepted: type | tuple[type, ...], what: str) -> _Hook:
    """Return *read* with a check that the value has one of the accepted types."""

    def check(value: object, cls: object) -> object:
        if not isinstance(value, accepted):
            raise ConfigError(f"expected {what}, not {_shown(value)}")
        return read(value, cls)

    return check


def _scalar(*kinds: type) -> _Hook:
    """Return a hook that accepts these types exactly: YAML has told them apart, and ``true`` is no number."""
    what = " or ".join(_KINDS[kind] for kind in kinds)

    def check(value: object, _: object) -> object:
        if type(value) in kinds:
            return value
        if type(value) is int and float in kinds:
            return float(value)
        raise ConfigError(f"expected {what}, not {_shown(value)}")

    return check


def _is_scalar_union(cls: Any) -> bool:
    """Return whether *cls* is a union such as ``int | str``; cattrs itself handles one type or ``None``."""
    if typing.get_origin(cls) not in (types.UnionType, typing.Union):
        return False
    kinds = set(typing.get_args(cls))
    return kinds <= set(_KINDS) and len(kinds - {type(None)}) > 1


def _literal(cls: Any) -> _Hook:
    words = typing.get_args(cls)

    def check(value: object, _: object) -> object:
        if value in words:
            return value
        near = suggestion(value, words) if isinstance(value, str) else ""
        raise ConfigError(f"expected {' or '.join(map(str, words))}, not {_shown(value)}{near and '.'}{near}")

    return check


def _attrs(cls: Any, converter: cattrs.Converter) -> _Hook:
    from cattrs.gen import make_dict_structure_fn, override

    shorthand = getattr(cls, "shorthand", lambda value: value)
    renamed = {field.name: override(rename=key_of(field)) for field in fields(cls) if key_of(field) != field.alias}
    whole: _Hook = make_dict_structure_fn(
        cls,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_use_alias=True,
        **renamed,  # type: ignore[arg-type]
    )
    read = _checked(whole, Mapping, f"a mapping with the keys {', '.join(field_names(cls))}")
    return lambda value, _: read(shorthand(value), cls)


# --- what went wrong --------------------------------------------------------------------------


def _first(error: BaseException, path: list[str]) -> tuple[list[str], str]:
    """Return the path that leads to the first real cause inside cattrs' nested groups, and its message."""
    import cattrs

    if isinstance(error, cattrs.BaseValidationError):
        # A missing key is often only misspelt, so an unknown key is reported first.
        inner = min(error.exceptions, key=lambda cause: not isinstance(cause, cattrs.ForbiddenExtraKeysError))
        keys = {field.name: key_of(field) for field in fields(error.cl)} if is_attrs(error.cl) else {}
        for note in getattr(inner, "__notes__", ()):
            step = getattr(note, "name", getattr(note, "index", None))
            if step is not None and not isinstance(inner, KeyError):
                path = [*path, str(keys.get(step, step))]
        return _first(inner, path)
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        key, known = min(map(str, error.extra_fields)), field_names(error.cl)
        return [*path, key], f"unknown key '{key}'.{suggestion(key, known)} Known: {', '.join(known)}."
    if isinstance(error, KeyError):
        return path, f"key '{error.args[0]}' is missing"
    return path, str(error) or type(error).__name__
