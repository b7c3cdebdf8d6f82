"""Options of the reflections."""

from __future__ import annotations

from attrs import frozen


@frozen
class ReflectionSettings:
    """Options of ``instruction`` and ``response``."""

    temperature: float = 0.0
    """Sampling temperature of the first request."""
    retry_temperature: float = 0.7
    """Sampling temperature after an answer that could not be used."""
    max_tokens: int = 1024
    """Longest answer in tokens, critique included; a longer one is cut off and not used."""
