"""Stages of a pipeline and their names, which are made of what a stage is and not of how or where it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import fields, frozen
from attrs import has as is_attrs

from rt_framework.errors import RtError
from rt_framework.hookspecs import KINDS
from rt_framework.kit.parts import Spec
from rt_framework.model import Range
from rt_framework.protocols import DatasetStage, Stage


@frozen
class Step:
    """One stage of the pipeline."""

    number: int
    """Its place, from 1."""
    label: str
    """What decisions call it: made of what the stage is, not of its place, and unique in the pipeline."""
    stage: Stage | DatasetStage

    @property
    def name(self) -> str:
        """What events and failures call it, place and purpose: ``2. choose highest ifd``."""
        return f"{self.number}. {self.label}"

    @property
    def bounds(self) -> Mapping[str, Range]:
        """What it compares scores with, by metric, where it says so."""
        return getattr(self.stage, "bounds", {})

    @property
    def barrier(self) -> bool:
        """Whether all samples must be there first."""
        return isinstance(self.stage, DatasetStage)


# --- names ---------------------------------------------------------------------------------------


SettingsOf = Callable[[str, Spec], object | None]
"""Gives the options of a part as its settings, by its kind."""

_MOST = 100
"""Characters of a label; options may hold whole prompts."""


def label(kind: str, spec: Spec, settings_of: SettingsOf) -> str:
    """The name of a part and its options in their shortest form, without defaults: ``choose highest ifd``."""
    try:
        given = _options(settings_of(kind, spec), settings_of)
    except RtError:  # no part of that kind after all
        given = spec.options
    text = " ".join(str(Spec(spec.name, given)).split())
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


def apart(labels: Iterable[str]) -> list[str]:
    """The labels, where one that occurs again has the number of its occurrence: ``choose newest (2)``."""
    seen: Counter[str] = Counter()
    told = []
    for one in labels:
        seen[one] += 1
        told.append(one if seen[one] == 1 else f"{one} ({seen[one]})")
    return told


def _options(settings: Any, settings_of: SettingsOf) -> Any:
    """Settings as a user may write them; the first option's value alone where it is the only one given."""
    if settings is None:
        return None
    given = {}
    for one in _given(settings):
        value, kind = getattr(settings, one.name), f"{one.alias}s"
        # A field that is named for a kind of plugin holds one, with options of its own.
        part = isinstance(value, Spec) and kind in KINDS
        given[one.alias] = label(kind, value, settings_of) if part else _plain(value)
    first = next((one.alias for one in fields(type(settings)) if one.init), None)
    return given[first] if list(given) == [first] else given or None


def _plain(value: Any) -> Any:
    if is_attrs(type(value)) and not isinstance(value, Spec):
        return {one.alias: _plain(getattr(value, one.name)) for one in _given(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return repr(value).removesuffix(".0") if isinstance(value, float) else value


def _given(settings: Any) -> list[Any]:
    """The fields that are not at their default."""
    return [one for one in fields(type(settings)) if one.init and getattr(settings, one.name) != _default(one.default)]


def _default(default: Any) -> Any:
    """The default of a field; one that is made of the other fields counts as none."""
    return default.factory() if hasattr(default, "factory") and not default.takes_self else default
