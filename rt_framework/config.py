"""YAML to attrs, strictly: an unknown key is an error that names its path and the nearest right one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import cattrs
import yaml
from attrs import field, fields, frozen
from attrs import has as is_attrs
from cattrs.errors import ForbiddenExtraKeysError

from rt_framework.errors import ConfigError, PluginError, RtError
from rt_framework.host import Host
from rt_framework.presets import pipeline as named_pipeline
from rt_framework.registry import Entry, suggestion
from rt_framework.spec import Spec

T = TypeVar("T")

_MOST_BYTES = 1_000_000


@frozen
class Data:
    """What to read."""

    path: str
    format: str | None = None
    """Name of a format; found by itself when left out."""
    shape: str | None = None
    """``alpaca``, ``messages``, ``sharegpt`` or ``prompt-completion``; found by itself when left out."""
    columns: dict[str, str] = field(factory=dict)
    """Our field to your column: ``{instruction: question, output: answer}``."""


@frozen
class ScoringConfig:
    """How pairs are put before the student. A key given here beats the preset's."""

    preset: str = "chat"
    template: Spec | None = None
    max_tokens: int | None = None
    """Longest sequence in tokens."""
    batch_tokens: int = 8192
    """Most tokens of one padded batch; halved by itself when memory runs out."""
    executor: Spec = Spec("local")


@frozen
class Pipeline:
    """The stages, by name or one by one."""

    use: str | None = None
    stages: tuple[Spec, ...] = ()
    exhaustive: bool = False
    """Reflect on every version and score every metric, as the published script does. Decisions are the same."""

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The stages to run.

        Raises:
            ConfigError: neither or both of a name and stages are given, or the name is unknown.
        """
        if (self.use is None) == (not self.stages):
            raise ConfigError("pipeline: give either the name of one, or a list of stages")
        return tuple(Spec.parse(stage) for stage in named_pipeline(self.use)) if self.use else self.stages


@frozen
class Output:
    """What to write besides the ledger."""

    format: str | None = None
    """As the input when left out."""
    shape: str | None = None


@frozen
class Limits:
    """How much at once, and how much at all. May change between two runs of one directory."""

    concurrency: int = 16
    """Teacher calls under way at once."""
    in_flight: int = 256
    """Samples under way at once."""
    attempts: int = 5
    """Times that one request is sent when the provider or the connection fails."""
    answers: int = 2
    """Answers asked for one rewrite when they are unusable; each later request is a changed one."""
    budget: float | None = None
    """Dollars; nothing is sent that could exceed it."""
    samples: int | None = None
    """Read only so many."""
    failed: int = 0
    """More failed samples than this end the command with exit code 1."""


@frozen
class Config:
    """A whole run."""

    data: Data
    pipeline: Pipeline
    teacher: Spec | None = None
    student: Spec | None = None
    scoring: ScoringConfig = ScoringConfig()
    output: Output = Output()
    limits: Limits = Limits()


# --- reading ----------------------------------------------------------------------------------


def read_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """A config file with ``key=value`` overrides.

    Raises:
        ConfigError: naming the file, the key and the nearest right one.
    """
    raw = _read_yaml(path)
    for override in overrides:
        _override(raw, override)
    try:
        return structure(raw, Config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


class _Loader(yaml.SafeLoader):
    """Safe, and strict where YAML is lenient: no duplicate keys, no aliases (which can explode)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path}: larger than {_MOST_BYTES} bytes; this is no config")
        raw = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; 'rt init' writes a commented one to start from") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {_one_line(error)}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping with the keys {', '.join(_names(Config))}")
    return raw


def parse_yaml(text: str, place: str) -> Any:
    """A YAML value from a command line.

    Raises:
        ConfigError: it is not valid; *place* says where it was given.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ConfigError(f"{place}: not valid YAML: {_one_line(error)}") from error


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{getattr(error, 'problem', None) or error}{where}"


def _override(raw: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {text}: expected key=value, for example limits.concurrency=8")
    parsed = parse_yaml(value, f"--set {text}")
    *parents, last = key.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"--set {text}: '{parent}' is not a mapping in the config")
    raw[last] = parsed


# --- structuring ------------------------------------------------------------------------------


def structure(value: object, cls: type[T], path: str = "") -> T:
    """*value* as an attrs object.

    Raises:
        ConfigError: one line with the path of the first key that is wrong.
    """
    try:
        return _converter().structure(value, cls)
    except Exception as error:
        where, message = _first(error, [path] if path else [])
        raise ConfigError(f"{'.'.join(where)}: {message}" if where else message) from error


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind, accepted in ((str, str), (int, int), (float, (int, float)), (bool, bool)):
        converter.register_structure_hook(kind, _strict(kind, accepted))
    converter.register_structure_hook(Spec, lambda value, _: Spec.parse(value))
    converter.register_structure_hook(Pipeline, _pipeline(converter))
    return converter


def _strict(kind: type, accepted: type | tuple[type, ...]) -> Any:
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}

    def check(value: object, _: object) -> object:
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError(f"expected {names[kind]}, not {value!r}")
        return kind(value)

    return check


def _pipeline(converter: cattrs.Converter) -> Any:
    """A name alone is ``use``, a list alone is ``stages``."""
    whole = cattrs.gen.make_dict_structure_fn(Pipeline, converter, _cattrs_forbid_extra_keys=True)

    def read(value: object, _: object) -> Pipeline:
        if isinstance(value, str):
            value = {"use": value}
        if isinstance(value, list):
            value = {"stages": value}
        return whole(value, Pipeline)  # type: ignore[arg-type]

    return read


def _first(error: BaseException, path: list[str]) -> tuple[list[str], str]:
    """The first real cause inside cattrs' nested groups, and the path that leads to it."""
    if isinstance(error, cattrs.BaseValidationError):
        inner = error.exceptions[0]
        for note in getattr(inner, "__notes__", ()):
            step = getattr(note, "name", getattr(note, "index", None))
            if step is not None:
                path = [*path, str(step)]
        return _first(inner, path)
    if isinstance(error, ForbiddenExtraKeysError):
        key, known = min(error.extra_fields), _names(error.cl)
        return [*path, key], f"unknown key '{key}'.{suggestion(key, known)} Known: {', '.join(known)}."
    if isinstance(error, KeyError):
        return path, f"key '{error.args[0]}' is missing"
    return path, str(error) or type(error).__name__


def _names(cls: Any) -> list[str]:
    return [attribute.name for attribute in fields(cls)]


# --- building plugins -------------------------------------------------------------------------


class Builder:
    """The :class:`rt_framework.protocols.Make` of one command."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __call__(self, kind: str, name: str, options: object = None) -> Any:
        """Build a plugin by name.

        Raises:
            PluginError: unknown, ambiguous or broken.
            ConfigError: the options do not fit its settings.
        """
        entry = self._host.find(kind, name)
        arguments: list[object] = []
        if entry.settings is not None:
            arguments.append(settings(entry, options))
        elif options not in (None, {}):
            raise ConfigError(f"{kind[:-1]} '{name}' takes no options, but got {options!r}")
        if kind == "stages":
            arguments.append(self)
        target = entry.load()
        try:
            return target(*arguments)
        except RtError:
            raise
        except Exception as error:
            raise PluginError(
                f"{kind[:-1]} '{name}' of plugin '{entry.plugin}' failed to start: {type(error).__name__}: {error}"
            ) from error

    def spec(self, kind: str, spec: Spec) -> Any:
        """Build what a spec names."""
        return self(kind, spec.name, spec.options)


def settings(entry: Entry, options: object) -> object:
    """Options as the entry's settings: a mapping of fields, or the value of the first field alone.

    Raises:
        ConfigError: they do not fit.
    """
    assert entry.settings is not None and is_attrs(entry.settings)
    names = _names(entry.settings)
    if options is None:
        options = {}
    elif not isinstance(options, Mapping) or (len(names) == 1 and not set(options) <= set(names)):
        options = {names[0]: options}
    return structure(options, entry.settings, f"{entry.kind[:-1]} '{entry.name}'")
