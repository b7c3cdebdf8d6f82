"""Stages of a pipeline, their identity and their names.

Both are made of the stage's plugin and options, not of the form in which the config writes them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from attrs import fields, frozen
from attrs import has as is_attrs

from rt_framework.config import MAIN
from rt_framework.errors import RtError
from rt_framework.hookspecs import KINDS
from rt_framework.kit.parts import Spec
from rt_framework.model import Pair, Range
from rt_framework.plugin import key_of
from rt_framework.protocols import (
    AskingStage,
    ColumnReader,
    DatasetStage,
    Frame,
    Providing,
    Question,
    Stage,
    VectorReader,
    draw_names,
    is_asked,
)
from rt_framework.spans import Span


@frozen
class Asking:
    """A question that a stage asks one teacher about a version."""

    name: str
    """Name of the rewrite, if the answer is one."""
    question: Question[Any]
    teacher: str = MAIN
    draw: int = 0

    def about(self, pair: Pair) -> bool:
        """Return whether the question is asked about a pair."""
        return is_asked(self.question, pair)


@frozen
class Step:
    """One stage of the pipeline with its identity and its place."""

    id: str
    """Identity of the stage in decisions, failures, events and counters: ``choose-highest``.

    It is made of what the stage is, never of its place, so that a pipeline may change around it.
    """
    number: int
    """Place in the pipeline, from 1."""
    label: str
    """Plugin and options, for people: ``choose highest ifd``."""
    stage: Stage | DatasetStage

    @property
    def name(self) -> str:
        """Position and label of the stage, as users see them: ``2. choose highest ifd``."""
        return f"{self.number}. {self.label}"

    @property
    def bounds(self) -> Mapping[str, Range]:
        """Ranges that the stage compares scores with, by metric; empty if the stage declares none."""
        return getattr(self.stage, "bounds", {})

    @cached_property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers that the stage asks; none if it has no questions."""
        if not self.stage.reflections:
            return ()
        return tuple(self.stage.teachers) if isinstance(self.stage, AskingStage) else (MAIN,)

    @cached_property
    def asks(self) -> tuple[Asking, ...]:
        """The questions of the stage about one version, each teacher and each draw by itself."""
        draws = self.stage.draws if isinstance(self.stage, AskingStage) else 1
        return tuple(
            Asking(called, question, teacher, draw)
            for name, question in self.stage.reflections.items()
            for teacher in self.teachers
            for draw, called in enumerate(draw_names(name, draws))
        )

    @cached_property
    def names(self) -> frozenset[str]:
        """Names of the rewrites that the stage asks for."""
        return frozenset(asking.name for asking in self.asks)

    @cached_property
    def rewrites(self) -> bool:
        """True if the stage asks for rewrites."""
        return any(question.rewrites for question in self.stage.reflections.values())

    @cached_property
    def provides(self) -> Mapping[str, Range]:
        """Scores that the stage gives versions, by name, with the range of their valid values."""
        return self.stage.provides if isinstance(self.stage, Providing) else {}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the data that the stage reads besides the pair."""
        return tuple(self.stage.columns) if isinstance(self.stage, ColumnReader) else ()

    @property
    def embeds(self) -> Callable[[Pair, Frame], Sequence[Span]] | None:
        """Function that returns the spans whose vector the stage reads; ``None`` if it reads none."""
        return self.stage.embeds if isinstance(self.stage, VectorReader) else None

    @property
    def barrier(self) -> bool:
        """True if all samples must have reached the stage before it runs."""
        return isinstance(self.stage, DatasetStage)


# --- names ---------------------------------------------------------------------------------------


SettingsOf = Callable[[str, Spec], object | None]
"""Function that returns the options of a part as its settings object, given the kind of plugin and the spec."""

_MOST = 100
"""Most characters of a label, which is limited because options may hold whole prompts."""


def label(kind: str, spec: Spec, settings_of: SettingsOf) -> str:
    """Return the name of a part and its options in shortest form, without defaults: ``choose highest ifd``."""
    try:
        given = _options(settings_of(kind, spec), settings_of)
    except RtError:  # the kind has no such part
        given = spec.options
    text = " ".join(str(Spec(spec.name, given)).split())
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


def kind_of(spec: Spec, settings: Any) -> str:
    """Return what a stage is: the name that it gives its rewrites, else its kind and what it is built on.

    A stage that names nothing is called like ``choose-highest``, after its kind and its reflection or selector.
    """
    parts = (
        []
        if settings is None
        else [getattr(settings, field.name) for field in fields(type(settings)) if _is_part(field)]
    )
    name = getattr(settings, "as_", None)
    return name or "-".join((spec.name, *(part.name for part in parts if isinstance(part, Spec))))


def apart(names: Iterable[str], form: str) -> list[str]:
    """Return the names made unique: a repeated one gets the number of its occurrence.

    Args:
        names: the names.
        form: form of a repeated name, of ``name`` and ``number``.
    """
    seen: Counter[str] = Counter()
    unique: list[str] = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else form.format(name=name, number=seen[name]))
    return unique


def _options(settings: Any, settings_of: SettingsOf) -> Any:
    """Return settings as a user may write them: only the first option's value if no other option is set."""
    if settings is None:
        return None
    given = {}
    for field in _given(settings):
        value = getattr(settings, field.name)
        part = isinstance(value, Spec) and _is_part(field)
        given[key_of(field)] = label(f"{field.alias}s", value, settings_of) if part else _plain(value)
    first = [key_of(field) for field in fields(type(settings)) if field.init][:1]
    return given[first[0]] if list(given) == first else given or None


def _is_part(field: Any) -> bool:
    """Return whether a field of settings is named after a kind of plugin: it holds the spec of such a plugin."""
    return f"{field.alias}s" in KINDS


def _plain(value: Any) -> Any:
    if is_attrs(type(value)) and not isinstance(value, Spec):
        return {key_of(field): _plain(getattr(value, field.name)) for field in _given(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return repr(value).removesuffix(".0") if isinstance(value, float) else value


def _given(settings: Any) -> list[Any]:
    """Return the fields whose value differs from their default."""
    return [
        field
        for field in fields(type(settings))
        if field.init and getattr(settings, field.name) != _default(field.default)
    ]


def _default(default: Any) -> Any:
    """Return the default of a field; one that is computed from other fields (``takes_self``) is not evaluated."""
    return default.factory() if hasattr(default, "factory") and not default.takes_self else default
