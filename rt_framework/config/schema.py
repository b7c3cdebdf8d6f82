"""Strict conversion of YAML to attrs: an unknown key is an error that names its path and the nearest known key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, Literal

import yaml
from attrs import evolve, field, frozen

from rt_framework.config.pipelines import pipeline as named_pipeline
from rt_framework.config.shards import Shard
from rt_framework.errors import ConfigError, PluginError, RtError
from rt_framework.hookspecs import singular
from rt_framework.kit.bounds import fault, within
from rt_framework.kit.parts import Spec
from rt_framework.kit.stdout import others_to_stderr
from rt_framework.plugin import Entry, Host, field_names, structure
from rt_framework.text import secret_place

_MOST_BYTES = 1_000_000

_MOST_AT_ONCE = 1_000_000
"""Largest number of samples or calls at once: each is a task with memory of its own."""

_MOST_DOLLARS = 1e9
"""Largest budget in dollars: in nano-dollars it has to stay a number that the ledger can hold."""


def _check_shard(_: object, __: object, value: str | None) -> None:
    if value is not None:
        Shard.parse(value)


@frozen
class Data:
    """The data set to read."""

    path: str
    format: str | None = None
    """Name of a format; found by itself when left out."""
    shape: str | None = None
    """``alpaca``, ``messages``, ``sharegpt`` or ``prompt-completion``; found by itself when left out."""
    columns: dict[str, str] = field(factory=dict)
    """Our field to your column: ``{instruction: question, output: answer}``."""
    shard: str | None = field(default=None, validator=_check_shard)
    """``i/n``: only the i-th of n parts of the samples, with an n-th of the budget."""


@frozen
class ScoringConfig:
    """Rules by which pairs are presented to the student. A key given here overrides the preset's."""

    preset: str = "chat"
    template: Spec | None = None
    max_tokens: int | None = field(default=None, validator=within(least=2))
    """Longest sequence in tokens."""
    batch_tokens: int | None = field(default=None, validator=within(least=1))
    """Most tokens of one padded batch, halved when memory runs out; the student's own choice when left out."""
    executor: Spec = Spec("local")


@frozen
class Pipeline:
    """The stages of a run, by the name of a pipeline or one by one."""

    use: str | None = None
    stages: tuple[Spec, ...] = ()
    exhaustive: bool = False
    """Reflect on every version and score every metric, as the published script does. Decisions are the same."""

    @classmethod
    def shorthand(cls, value: object) -> object:
        """Expand the short form: a name alone is ``use``, a list alone is ``stages``."""
        if isinstance(value, str):
            return {"use": value}
        return {"stages": value} if isinstance(value, list) else value

    @property
    def specs(self) -> tuple[Spec, ...]:
        """The stages to run.

        Raises:
            ConfigError: neither or both of a name and stages are given, or the name is unknown.
        """
        if (self.use is None) == (not self.stages):
            raise ConfigError("pipeline: give either the name of a pipeline, or a list of stages")
        return tuple(Spec.parse(stage) for stage in named_pipeline(self.use)) if self.use else self.stages


@frozen
class Output:
    """Format and shape of the outputs that are written besides the ledger."""

    format: str | None = None
    """Format of ``kept`` and ``dropped``; as the input when left out."""
    shape: str | None = None


def _check_fail_on_error(_: object, __: object, value: bool | float) -> None:
    if type(value) is float and not 0 < value < 1:
        raise ConfigError(
            f"fail_on_error as a share must lie between 0 and 1, not {value:g}; a count is a whole number"
        )
    wrong = None if isinstance(value, bool) else fault(value, least=0)
    if wrong:
        raise ConfigError(f"fail_on_error {wrong}")


@frozen
class Limits:
    """Limits on how much runs at once, and on the whole run. They may change between two runs of one directory."""

    concurrency: int = field(default=32, validator=within(least=1, most=_MOST_AT_ONCE))
    """Teacher calls under way at most. The run begins with fewer and finds out how many the provider takes."""
    in_flight: int | None = field(default=None, validator=within(least=1, most=_MOST_AT_ONCE))
    """Samples under way at once; left out, 256, or 50,000 where the teacher's questions go in batches."""
    timeout: float = field(default=120.0, validator=within(above=0, most=86_400))
    """Seconds for one attempt in all, from connecting to the last byte."""
    attempts: int = field(default=5, validator=within(least=1, most=1000))
    """Times that one request is sent when the provider or the connection fails."""
    answers: int = field(default=2, validator=within(least=1, most=1000))
    """Answers asked for one rewrite when they are unusable; each later request is a changed one."""
    budget_usd: float | None = field(default=None, validator=within(least=0, most=_MOST_DOLLARS))
    """Dollars; nothing is sent that could exceed it. With 0 only what costs nothing is sent."""
    on_ambiguous: Literal["retry", "hold"] = "retry"
    """Calls that a killed run may have paid for without an answer: ask again, or hold back until ``rt retry``."""
    samples: int | None = field(default=None, validator=within(least=1))
    """Read only so many rows."""
    fail_on_error: bool | int | float = field(default=True, validator=_check_fail_on_error)
    """Samples with errors that end the command with exit code 1: any, none, or more than a share or a count."""

    def at_once(self, batched: bool) -> int:
        """Return how many samples are under way at once: many if *batched*, since only these can fill a batch."""
        return self.in_flight or (50_000 if batched else 256)

    def too_many(self, errors: int, total: int) -> bool:
        """Return whether more samples have errors than ``fail_on_error`` allows."""
        if isinstance(self.fail_on_error, bool):
            return self.fail_on_error and errors > 0
        allowed = self.fail_on_error * total if isinstance(self.fail_on_error, float) else self.fail_on_error
        return errors > allowed


@frozen
class Config:
    """Configuration of a whole run."""

    data: Data
    pipeline: Pipeline
    teacher: Spec | None = None
    student: Spec | None = None
    scoring: ScoringConfig = ScoringConfig()
    output: Output = Output()
    limits: Limits = Limits()


# --- reading ----------------------------------------------------------------------------------


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
    """Return the config with a shard's share of the budget; all shards together never exceed the budget."""
    dollars = config.limits.budget_usd
    if config.data.shard is None or dollars is None:
        return config
    share = Shard.parse(config.data.shard).share(floor(Fraction(str(dollars)) * 10**9))
    return evolve(config, limits=evolve(config.limits, budget_usd=share / 1e9))


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


# --- building plugins -------------------------------------------------------------------------


class Builder:
    """Builder of plugins for one command: its :class:`rt_framework.protocols.Make`.

    Args:
        host: finds the plugins, and notes which were used.
        looking: true if the plugins are built only for inspection, and are not noted as used.
    """

    def __init__(self, host: Host, looking: bool = False) -> None:
        self._host = host
        self._looking = looking

    def __call__(self, kind: str, name: str, options: object = None) -> Any:
        """Build a plugin by name.

        Raises:
            PluginError: the plugin is unknown, ambiguous or broken.
            ConfigError: the options do not fit its settings.
        """
        entry = self._host.find(kind, name)
        with others_to_stderr():
            given = settings(entry, options)
            built = self._built(entry, given)
        if not self._looking:
            self._host.use(entry, given)
        return built

    def _built(self, entry: Entry, given: object) -> Any:
        kind, name = entry.kind, entry.name
        arguments: list[object] = [] if given is None else [given]
        if kind == "stages":
            arguments.append(self)
        target = entry.load()
        try:
            return target(*arguments)
        except RtError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{singular(kind)} '{name}' of plugin '{entry.plugin}' failed to start: {type(error).__name__}: {error}"
            ) from error

    def spec(self, kind: str, spec: Spec) -> Any:
        """Build the plugin that a spec names, with its options."""
        return self(kind, spec.name, spec.options)

    def settings(self, kind: str, spec: Spec) -> object | None:
        """Return the options of a spec as the settings of the plugin that it names; ``None`` where that has none."""
        return settings(self._host.find(kind, spec.name), spec.options)


def settings(entry: Entry, options: object) -> object | None:
    """Return options as the entry's settings; they are a mapping of fields, or the value of the first field alone.

    Returns:
        the settings; ``None`` where the entry has no settings class.

    Raises:
        ConfigError: the options do not fit.
    """
    names = [] if entry.settings is None else field_names(entry.settings)
    place = f"{singular(entry.kind)} '{entry.name}'"
    secret = secret_place(options, place)
    if secret is not None:
        raise ConfigError(f"{secret}: API keys come only from the environment; take it out of the config")
    if options is None:
        options = {}
    elif not names and options != {}:
        raise ConfigError(f"{place} takes no options, but got {options!r}")
    elif not isinstance(options, Mapping) or (len(names) == 1 and not set(options) <= set(names)):
        options = {names[0]: options}
    return None if entry.settings is None else structure(options, entry.settings, place)
