"""Bounds of numeric settings: one attrs validator for all of them, which also rejects NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from attrs import Attribute

from rt_framework.errors import ConfigError

WHOLE = 2**63 - 1
"""Largest whole number that the ledger, and most programs that receive a setting, can hold."""


def within(
    *, least: float | None = None, above: float | None = None, most: float = WHOLE
) -> Callable[[object, Attribute[Any], Any], None]:
    """Return an attrs validator of a number between these bounds. A setting that is left out (``None``) passes.

    Args:
        least: smallest value that is allowed.
        above: instead of *least*, the value that must be exceeded.
        most: largest value that is allowed.
    """

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        wrong = None if value is None else fault(value, least=least, above=above, most=most)
        if wrong:
            raise ConfigError(f"{attribute.name} {wrong}")

    return check


def fault(value: Any, *, least: float | None = None, above: float | None = None, most: float = WHOLE) -> str | None:
    """Return what is wrong with a number, to be put after its name; ``None`` where it keeps the bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number, not {type(value).__name__}"
    unusable = unfit(value)
    if unusable:
        return f"must be a finite number of at most 64 bits, not {unusable}"
    if least is not None and not value >= least:
        return f"must be at least {least:g}, not {value}"
    if above is not None and not value > above:
        return f"must be above {above:g}, not {value}"
    return None if value <= most else f"must be at most {most:g}, not {value}"


def unfit(value: object) -> str | None:
    """Return a description of a number that cannot be computed with or stored; ``None`` for any other value.

    The description never shows the digits of a whole number, of which there may be thousands.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not -WHOLE <= value <= WHOLE:
        return f"a whole number of about {round(value.bit_length() * math.log10(2))} digits"
    return None
