"""Files that people write by hand, such as a config or a prompt: small, in UTF-8, with YAML that is read strictly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from rt_framework.errors import ConfigError

MOST_BYTES = 1_000_000
"""Largest size of such a file; a larger one was named by mistake."""

Place = tuple[str | int, ...]
"""Keys and indexes that lead to a value."""


def read_user_file(path: Path, kind: str, starter: str) -> str:
    """Return the text of a file, with the line ends of Unix and without a byte order mark.

    Args:
        path: the file.
        kind: name of such a file for messages: ``config``.
        starter: command that writes one to start from.

    Raises:
        ConfigError: the file is missing, too large, or not UTF-8 text; the message names it and a way out.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)  # the size is not asked for: that of a device or a pipe is 0
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; '{starter}' writes a commented one to start from") from None
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{path}: larger than {MOST_BYTES} bytes; this is no {kind}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason}); save the {kind} as UTF-8") from error
    if "\0" in text:  # ASCII text in UTF-16 is valid UTF-8 as well
        raise ConfigError(f"{path}: not UTF-8 text (it has NUL characters); save the {kind} as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_yaml(text: str, place: str) -> Any:
    """Return the value of a YAML text from a file or a command line.

    Raises:
        ConfigError: the text is not valid YAML; *place* says where it was given.
    """
    value, _ = parse_yaml_lines(text, place)
    return value


def parse_yaml_lines(text: str, place: str, above: int = 0) -> tuple[Any, dict[Place, int]]:
    """Return the value of a YAML text, and the number of the line of each key and list item.

    Args:
        text: the YAML.
        place: file or option in which it was given, for messages.
        above: number of lines of the file above the text.

    Raises:
        ConfigError: the text is not valid YAML.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        value = None if node is None else loader.construct_document(node)
        return value, dict(_lines(node, (), above + 1))
    except yaml.YAMLError as error:
        raise ConfigError(f"{place}: not valid YAML: {_one_line(error, above)}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: not usable YAML: {error}") from error


class _Loader(yaml.SafeLoader):
    """Safe YAML loader that refuses duplicate keys, and aliases, which can expand to enormous values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "YAML aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (list, dict, set)):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain value", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' occurs twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _lines(node: yaml.Node | None, place: Place, first: int) -> Iterator[tuple[Place, int]]:
    """Yield the place of every key and list item in a node with its line; the first line of the text is *first*."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, key.value), first + key.start_mark.line
            yield from _lines(value, (*place, key.value), first)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*place, index), first + item.start_mark.line
            yield from _lines(item, (*place, index), first)


def _one_line(error: yaml.YAMLError, above: int) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" at line {above + mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{getattr(error, 'problem', None) or ' '.join(str(error).split())}{where}"
