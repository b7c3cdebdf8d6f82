"""Curves over a number on a logarithmic axis as SVG: two plots beside each other, on a light ground of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from attrs import frozen

_WIDTH, _HEIGHT = 430.0, 260.0
"""Size of a plot with its labels."""

_LEFT, _TOP, _RIGHT, _BELOW = 46.0, 30.0, 24.0, 30.0
"""Room around the curves of a plot, for its labels."""

_HEAD = 34.0
"""Room for the legend above all plots."""

_STEPS = 5
"""Number of intervals of the upright axis."""

_LOOKS = (
    ("#1f5fbf", ""),
    ("#c2410c", ""),
    ("#15803d", ""),
    ("#7e22ce", ""),
    ("#1f5fbf", "6 3"),
    ("#c2410c", "6 3"),
    ("#15803d", "6 3"),
)
"""Colour and dashes of each curve: colours alone would not tell seven apart."""


@frozen
class Curve:
    """One curve."""

    name: str
    points: Sequence[tuple[float, float]]
    """Place on the level axis, above 0, and height."""


@frozen
class Plot:
    """Curves over one axis."""

    title: str
    curves: Sequence[Curve]
    heights: tuple[float, float]
    """Lower and upper end of the upright axis; what is outside is drawn at its end."""
    band: tuple[float, float] | None = None
    """Heights between which the ground is tinted."""


def draw(plots: Sequence[Plot], title: str) -> str:
    """Return the SVG of all plots, which have curves of the same names. It names no font and loads nothing."""
    width, height = len(plots) * _WIDTH, _HEIGHT + _HEAD
    text = 'font-family="sans-serif" font-size="11" fill="#222"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" {text}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width:g}" height="{height:g}" rx="6" fill="#fff" stroke="#bbb"/>',
        *_legend([curve.name for curve in plots[0].curves]),
    ]
    for number, plot in enumerate(plots):
        parts += [f'<g transform="translate({number * _WIDTH:g} {_HEAD:g})">', *_plot(plot), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _legend(names: Sequence[str]) -> Iterator[str]:
    for number, (name, look) in enumerate(zip(names, _LOOKS, strict=False)):
        x = _LEFT + 108 * number
        yield f'<path d="M{x:g} 20h26" {_stroke(look)}/><text x="{x + 32:g}" y="24">{escape(name)}</text>'


def _stroke(look: tuple[str, str]) -> str:
    colour, dashes = look
    return f'fill="none" stroke="{colour}" stroke-width="2"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _plot(plot: Plot) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BELOW
    places = [math.log10(place) for curve in plot.curves for place, _ in curve.points]
    first, last = math.floor(min(places)), math.ceil(max(places))
    low, high = plot.heights

    def at(place: float) -> float:
        return _LEFT + (math.log10(place) - first) / (last - first) * (right - _LEFT)

    def height(value: float) -> float:
        return bottom - (min(max(value, low), high) - low) / (high - low) * (bottom - _TOP)

    yield f'<text x="{_LEFT:g}" y="20" font-weight="bold">{escape(plot.title)}</text>'
    if plot.band is not None:
        below, above = map(height, plot.band)
        yield f'<path d="M{_LEFT:g} {above:.1f}H{right:g}V{below:.1f}H{_LEFT:g}z" fill="#eee"/>'
    for step in range(_STEPS + 1):
        value = low + (high - low) * step / _STEPS
        yield f'<path d="M{_LEFT:g} {height(value):.1f}H{right:g}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 6:g}" y="{height(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
    for power in range(first, last + 1):
        yield f'<text x="{at(10**power):.1f}" y="{bottom + 16:g}" text-anchor="middle">{10**power:,}</text>'
    for curve, look in zip(plot.curves, _LOOKS, strict=False):
        points = " ".join(f"{at(place):.1f},{height(value):.1f}" for place, value in curve.points)
        yield f'<polyline points="{points}" {_stroke(look)}/>'
