"""Fallbacks: the teachers to which a question goes, one after the other, after the final failure of the one before."""

from __future__ import annotations

from collections.abc import Mapping

from rt_framework.errors import ConfigError
from rt_framework.plugin import named


def check_fallbacks(fallbacks: Mapping[str, str | None]) -> None:
    """Check that every fallback is a teacher, and that no question comes back to a teacher that it has been to.

    Args:
        fallbacks: the fallback of each teacher, or ``None``, by the names that a config uses.

    Raises:
        ConfigError: a fallback is no teacher; the message names those that there are. Or fallbacks lead in a circle.
    """
    for name, fallback in fallbacks.items():
        if fallback is None:
            continue
        try:
            named("teacher", fallback, fallbacks)
        except ConfigError as error:
            raise ConfigError(f"{_key(name)}: {error}") from None
    for name in fallbacks:
        way = chain(name, fallbacks)
        if fallbacks[way[-1]] is not None:
            circle = " → ".join((*way, str(fallbacks[way[-1]])))
            raise ConfigError(f"{_key(name)}: fallbacks must come to an end, and these do not: {circle}")


def chain(name: str, fallbacks: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return the teachers to which a question to the teacher *name* may go, in order, each once."""
    way = [name]
    while (following := fallbacks[way[-1]]) is not None and following not in way:
        way.append(following)
    return tuple(way)


def _key(name: str) -> str:
    return "teacher.fallback" if name == "teacher" else f"teachers.{name}.fallback"
