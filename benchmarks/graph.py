"""A graph as SVG: lines over time in several panels, each against a quota, on a light ground of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from attrs import frozen

_WIDTH, _HEIGHT, _COLUMNS = 430.0, 190.0, 2
"""Size of a panel with its labels, and the number of panels beside each other."""

_LEFT, _TOP, _RIGHT, _BELOW = 46.0, 30.0, 24.0, 30.0
"""Room around the plot of a panel, for its labels."""

_HIGHEST = 2.0
"""Share of the quota at the upper edge of a plot; a larger one is drawn there."""

_COLOURS = ("#1f5fbf", "#c2410c")
"""Blue and orange, which also the colour-blind tell apart, both dark enough for thin lines on white."""


@frozen
class Line:
    """One line of a panel."""

    name: str
    points: Sequence[tuple[float, float]]
    """Time in seconds, and share of the quota."""
    marks: Sequence[float]
    """Times of refusals, each drawn as a short stroke at the lower edge."""


@frozen
class Panel:
    """One plot."""

    title: str
    lines: Sequence[Line]


def draw(panels: Sequence[Panel], seconds: float) -> str:
    """Return the SVG of all panels. It names no font and loads nothing.

    The ground is white whatever the page around it is, so that it can be read on a dark page too.
    """
    rows = -(-len(panels) // _COLUMNS)
    width, height = _COLUMNS * _WIDTH, rows * _HEIGHT + 34
    text = 'font-family="sans-serif" font-size="11" fill="#222"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" {text}>',
        "<title>Share of a quota used over time</title>",
        f'<rect width="{width:g}" height="{height:g}" rx="6" fill="#fff" stroke="#bbb"/>',
        *_legend(panels[0].lines),
    ]
    for number, panel in enumerate(panels):
        x, y = number % _COLUMNS * _WIDTH, number // _COLUMNS * _HEIGHT + 34
        parts += [f'<g transform="translate({x:g} {y:g})">', *_panel(panel, seconds), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _legend(lines: Sequence[Line]) -> Iterator[str]:
    x = _LEFT
    for line, colour in zip(lines, _COLOURS, strict=False):
        yield f'<path d="M{x:g} 20h22" stroke="{colour}" stroke-width="2"/>'
        yield f'<text x="{x + 28:g}" y="24">quota known {escape(line.name)}</text>'
        x += 190
    yield f'<path d="M{x:g} 20h22" stroke="#222" stroke-dasharray="5 3"/><text x="{x + 28:g}" y="24">the quota</text>'
    x += 120
    yield f'<path d="M{x + 8:g} 15v10" stroke="#222"/><text x="{x + 18:g}" y="24">a refused request</text>'


def _panel(panel: Panel, seconds: float) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BELOW

    def at(time: float) -> float:
        return _LEFT + time / seconds * (right - _LEFT)

    def height(share: float) -> float:
        return bottom - min(share, _HIGHEST) / _HIGHEST * (bottom - _TOP)

    yield f'<text x="{_LEFT:g}" y="20" font-weight="bold">{escape(panel.title)}</text>'
    for share in (0.0, 0.5, 1.0, 1.5, 2.0):
        stroke = '"#222" stroke-dasharray="5 3"' if share == 1 else '"#ddd"'
        yield f'<path d="M{_LEFT:g} {height(share):.1f}H{right:g}" stroke={stroke}/>'
        yield f'<text x="{_LEFT - 6:g}" y="{height(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>'
    for part in range(5):
        time = seconds * part / 4
        yield f'<text x="{at(time):.1f}" y="{bottom + 16:g}" text-anchor="middle">{time:g} s</text>'
    for row, (line, colour) in enumerate(zip(panel.lines, _COLOURS, strict=False)):
        points = " ".join(f"{at(time):.1f},{height(share):.1f}" for time, share in line.points)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        marks = "".join(f"M{at(time):.1f} {bottom - 8 * row:g}v-7" for time in line.marks if time <= seconds)
        if marks:
            yield f'<path d="{marks}" stroke="{colour}"/>'
