"""How selectors read scores and speak of them."""

from __future__ import annotations

from rt_framework.model import Score, Scored


def shown(value: float) -> str:
    """A value as reasons show it: whole numbers whole, others with three digits."""
    if value.is_integer() and abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.3f}" if 0.01 <= abs(value) < 1e6 else f"{value:.3g}"


def shown_apart(first: float, second: float) -> tuple[str, str]:
    """Two values, with all their digits when three digits hide that they differ."""
    texts = shown(first), shown(second)
    return (repr(first), repr(second)) if texts[0] == texts[1] and first != second else texts


def valid(row: Scored, metric: str) -> float | None:
    """The value of a metric that may win, else ``None``."""
    score = row.scores[metric]
    return float(score.value) if score.eligible and score.value is not None else None


def lacking(metric: str, score: Score) -> str:
    """Why a score that is not eligible cannot win."""
    if score.value is None:
        return f"no {metric}: {score.reason or score.status}"
    return f"{metric} {shown(float(score.value))} cannot win: {score.reason or score.status}"
