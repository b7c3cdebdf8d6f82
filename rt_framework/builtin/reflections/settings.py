"""Options of the reflections."""

from __future__ import annotations

from attrs import field, frozen

from rt_framework.kit.bounds import within
from rt_framework.model import MOST_TEMPERATURE, MOST_TOKENS


@frozen
class ReflectionSettings:
    """Options of the reflections ``instruction`` and ``response``."""

    temperature: float = field(default=0.0, validator=within(least=0, most=MOST_TEMPERATURE))
    """Sampling temperature of the first request."""
    retry_temperature: float = field(default=0.7, validator=within(least=0, most=MOST_TEMPERATURE))
    """Sampling temperature after an answer that could not be used."""
    max_tokens: int = field(default=1024, validator=within(least=1, most=MOST_TOKENS))
    """Longest answer in tokens, critique included; a longer one is cut off and not used."""
