"""Types of number options: values are finite, and whole numbers fit in 64 bits."""

from __future__ import annotations

from typing import Any

import click

from rt_framework.kit.bounds import unfit


class Whole(click.IntRange):
    """Type of an option that is a whole number; one of more than 64 bits is refused, like one that is too small.

    Args:
        least: smallest value that is allowed; without it any value is.
    """

    def __init__(self, least: int | None = None) -> None:
        super().__init__(least)
        self.name = "integer" if least is None else self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number.

        Raises:
            click.BadParameter: the value is no number, too small, or has more than 64 bits.
        """
        large = unfit(click.INT.convert(value, param, ctx))
        if large:
            self.fail(f"{large} is too large.", param, ctx)
        number: int = super().convert(value, param, ctx)
        return number

    def _describe_range(self) -> str:
        return "" if self.min is None else super()._describe_range()


class Number(click.FloatRange):
    """Type of an option that is a number; infinities and NaN are refused.

    Args:
        least: smallest value that is allowed.
    """

    def __init__(self, least: float) -> None:
        super().__init__(least)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number.

        Raises:
            click.BadParameter: the value is no number, too small, or not finite.
        """
        number: float = super().convert(value, param, ctx)
        if unfit(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number
