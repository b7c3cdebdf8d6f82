"""Options of the reflections."""

from __future__ import annotations

from attrs import evolve, field, frozen

from rt_framework.kit.bounds import within
from rt_framework.model import MOST_TEMPERATURE, MOST_TOKENS

_TEMPERATURE = within(least=0, most=MOST_TEMPERATURE)
_TOKENS = within(least=1, most=MOST_TOKENS)


@frozen
class ReflectionSettings:
    """Options of the reflections ``instruction`` and ``response``."""

    temperature: float = field(default=0.0, validator=_TEMPERATURE)
    """Sampling temperature of the first request."""
    retry_temperature: float = field(default=0.7, validator=_TEMPERATURE)
    """Sampling temperature after an answer that could not be used."""
    max_tokens: int = field(default=1024, validator=_TOKENS)
    """Longest answer in tokens, critique included; a longer one is cut off and not used."""


@frozen
class AnswerSettings:
    """Options of the reflection ``answer``."""

    temperature: float = field(default=0.0, validator=_TEMPERATURE)
    """Sampling temperature of the first request."""
    retry_temperature: float = field(default=0.7, validator=_TEMPERATURE)
    """Sampling temperature after an answer that could not be used."""
    max_tokens: int = field(default=1024, validator=_TOKENS)
    """Longest answer in tokens."""
    keep_cut: bool = False
    """True to use an answer that was cut off at ``max_tokens``, up to there."""


@frozen
class PromptSettings:
    """Options of the reflection ``prompt``."""

    file: str
    """Prompt file; ``rt init --prompt NAME`` writes a commented one to start from."""
    temperature: float | None = field(default=None, validator=_TEMPERATURE)
    """Sampling temperature of the first request; the file's when left out."""
    retry_temperature: float | None = field(default=None, validator=_TEMPERATURE)
    """Sampling temperature after an answer that could not be used; the file's when left out."""
    max_tokens: int | None = field(default=None, validator=_TOKENS)
    """Longest answer in tokens; the file's when left out."""

    def over(self, sampling: ReflectionSettings) -> ReflectionSettings:
        """Return the sampling parameters of the file with those that are given here in their place."""
        given = {name: getattr(self, name) for name in ("temperature", "retry_temperature", "max_tokens")}
        return evolve(sampling, **{name: value for name, value in given.items() if value is not None})
