"""The parts of the reference that are made from the code: Markdown for the blocks ``{from-code}`` of a page."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

from attrs import NOTHING, fields

from rt_framework.kit.field_texts import field_texts

_BLOCK = re.compile(r"^```\{from-code\}\n([\w.]+)\n```$", re.MULTILINE)
_ROLE = re.compile(r":\w+:`~?(?:rt_framework\.)?([^`]*)`")
_ARGUMENT = re.compile(r"^(\w+): (.*(?:\n +.*)*)", re.MULTILINE)
_SECTION = re.compile(r"\n\n(?:Args|Raises|Returns):\n")

Row = tuple[str, str, str, str]
"""Name, type, default and meaning."""


def filled(page: str) -> str:
    """Return the text of a page, with the description of a class or function in place of each block that names one."""
    return _BLOCK.sub(lambda block: shown(_named(block[1])), page)


def named_on(page: str) -> dict[str, Any]:
    """Return the classes and functions that a page describes, by full name."""
    return {name: _named(name) for name in _BLOCK.findall(page)}


def _named(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def shown(described: Any) -> str:
    """Return the docstring of a class, with tables of its fields, properties and methods; of a function, the first."""
    text = _markdown(_SECTION.split(inspect.getdoc(described) or "")[0])
    if not isinstance(described, type):
        return f"`{described.__name__}{_signature(described)}`\n\n{text}"
    head = "argument" if issubclass(described, Exception) else "field"
    tables = [
        _table((head, "type", "default", "meaning"), rows_of(described)),
        _table(("property or method", "meaning"), members_of(described)),
    ]
    return "\n\n".join([text, *filter(None, tables)])


def rows_of(cls: type) -> list[Row]:
    """Return a row for each field of a class, or for each argument of an exception."""
    if issubclass(cls, Exception):
        return list(_arguments(cls)) if "__init__" in vars(cls) else []
    texts = field_texts(cls)
    own = [field for field in fields(cls) if field.init and not field.name.startswith("_")]
    return [
        (f"`{field.alias}`", f"`{field.type}`", _default(field.default), texts.get(field.name, "")) for field in own
    ]


def members_of(cls: type) -> list[tuple[str, str]]:
    """Return signature and meaning of each property and method that a class defines."""
    texts = {} if issubclass(cls, Exception) else field_texts(cls)
    names = {field.name for field in fields(cls)} if texts else set()
    members = [(f"`{name}`", text) for name, text in texts.items() if name not in names]  # cached properties
    for name, member in vars(cls).items():
        text = (inspect.getdoc(member) or "").partition("\n\n")[0]
        if not name.startswith("_") and isinstance(member, property):
            members.append((f"`{name}`", text))
        elif not name.startswith("_") and inspect.isfunction(member):
            members.append((f"`{name}{_signature(member)}`", text))
    return members


def _arguments(cls: type) -> Iterator[Row]:
    """Yield a row for each argument of an exception, with its meaning from the section ``Args`` of the docstring."""
    listed = (inspect.getdoc(cls) or "").partition("\n\nArgs:\n")[2].partition("\n\n")[0]
    texts = {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(inspect.cleandoc(listed))}
    for name, argument in inspect.signature(cls).parameters.items():
        default = NOTHING if argument.default is argument.empty else argument.default
        text = texts.get(name, "")
        yield f"`{name}`", f"`{argument.annotation}`", _default(default), text[:1].upper() + text[1:]


def _default(value: Any) -> str:
    if value is NOTHING:
        return "required"
    return f"`{value.factory()!r}`" if hasattr(value, "factory") else f"`{value!r}`"


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    arguments = [argument for name, argument in signature.parameters.items() if name != "self"]
    return str(signature.replace(parameters=arguments)).replace("'", "")


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [head, ["---"] * len(head), *rows] if rows else []
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(_markdown(text).split()).replace("|", "\\|")


def _markdown(text: str) -> str:
    """Return text of a docstring as Markdown: roles and emphasised names as code."""
    return re.sub(r"(?<!\w)\*(\w+)\*(?!\w)", r"`\1`", _ROLE.sub(r"`\1`", text)).replace("``", "`")
