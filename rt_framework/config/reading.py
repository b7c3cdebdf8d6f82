"""Strict conversion of YAML to the configuration: an unknown key is an error that names it and the nearest one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rt_framework.config.schema import Config
from rt_framework.errors import ConfigError
from rt_framework.kit.parts import Spec
from rt_framework.kit.user_files import parse_yaml, read_user_file
from rt_framework.plugin import field_names, structure
from rt_framework.text import secret_place


def read_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Return the config of a file, with ``key=value`` overrides.

    Raises:
        ConfigError: the config is wrong; the message names the file, the key and the nearest known one.
    """
    raw = _read_yaml(path)
    for override in overrides:
        _override(raw, override)
    try:
        return structure(raw, Config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    raw = parse_yaml(read_user_file(path, "config", "rt init"), str(path))
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
