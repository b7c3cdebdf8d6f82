"""Options of the stage."""

from __future__ import annotations

from typing import Any, Literal

from attrs import Attribute, field, frozen

from rt_framework.errors import ConfigError


def _on_the_scale(_instance: Any, attribute: Attribute[float], value: float) -> None:
    if not 0 <= value <= 5:
        raise ConfigError(f"{attribute.name} must be from 0 to 5, not {value:g}")


@frozen
class AlpaGasusSettings:
    """Options of ``alpagasus``."""

    at_least: float = field(default=4.5, validator=_on_the_scale)
    """Lowest score that is kept, 0 to 5."""
    dimension: Literal["accuracy", "helpfulness"] = "accuracy"
    """Quality that is judged."""
    on_failure: Literal["keep", "drop"] = "keep"
    """Fate of a sample that the teacher gave no usable score."""
    max_tokens: int = 256
    """Longest answer in tokens, the reason included; a longer one is cut off and not used."""
