"""Strict conversion of YAML to the configuration: an unknown key is an error that names it and the nearest one."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import yaml
from attrs import evolve

from rt_framework.config.schema import Config
from rt_framework.config.shards import Shard
from rt_framework.errors import ConfigError
from rt_framework.kit.parts import Spec
from rt_framework.plugin import field_names, structure
from rt_framework.text import secret_place

_MOST_BYTES = 1_000_000


def read_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Return the config of a file, with ``key=value`` overrides.

    Raises:
        ConfigError: the config is wrong; the message names the file, the key and the nearest known one.
    """
    raw = _read_yaml(path)
    for override in overrides:
        _override(raw, override)
    try:
        return _with_its_share(structure(raw, Config))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _with_its_share(config: Config) -> Config:
    """Return the config with a shard's share of each budget; all shards together never exceed one."""
    if config.data.shard is None:
        return config
    shard = Shard.parse(config.data.shard)

    def share(dollars: float | None) -> float | None:
        return None if dollars is None else shard.share(floor(Fraction(str(dollars)) * 10**9)) / 1e9

    teachers = {name: evolve(one, budget_usd=share(one.budget_usd)) for name, one in config.teachers.items()}
    return evolve(config, teachers=teachers, limits=evolve(config.limits, budget_usd=share(config.limits.budget_usd)))


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


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path}: larger than {_MOST_BYTES} bytes; this is no config")
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; 'rt init' writes a commented one to start from") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason}); a config is YAML") from error
    raw = parse_yaml(text, str(path))
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping with the keys {', '.join(field_names(Config))}")
    return raw


def spec_of(text: str, option: str) -> Spec:
    """Return plugin and options of a command line: ``hf:MODEL``, or YAML such as ``{hf: {model: M, dtype: float32}}``.

    Raises:
        ConfigError: the text is neither; *option* is named where the YAML is not valid.
    """
    # A name or name:value is taken literally: YAML would read ``null`` as no value and ``hf:`` as a mapping.
    is_yaml = text.startswith(("{", "[")) or ": " in text
    return Spec.parse(parse_yaml(text, option) if is_yaml else text)


def parse_yaml(text: str, place: str) -> Any:
    """Return the value of a YAML text from a file or a command line.

    Raises:
        ConfigError: the text is not valid YAML; *place* says where it was given.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{place}: not valid YAML: {_one_line(error)}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place}: not usable YAML: {error}") from error


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{getattr(error, 'problem', None) or ' '.join(str(error).split())}{where}"


def _override(raw: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {text}: expected key=value, for example limits.concurrency=8")
    if secret_place({key.rpartition(".")[2]: value}, key):
        raise ConfigError(f"--set {key}: API keys come only from the environment; take it out")
    parsed = parse_yaml(value, f"--set {text}")
    *parents, last = key.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"--set {text}: '{parent}' is not a mapping in the config")
    raw[last] = parsed
