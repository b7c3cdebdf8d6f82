"""Functions that read scores for selectors and describe them in reasons."""

from __future__ import annotations

from rt_framework.model import Score, Scored


def shown(value: float) -> str:
    """Return a value as reasons show it: whole numbers without decimals, others with three digits."""
    if value.is_integer() and abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.3f}" if 0.01 <= abs(value) < 1e6 else f"{value:.3g}"


def shown_apart(first: float, second: float) -> tuple[str, str]:
    """Return two values as text, with all their digits if rounding would hide that they differ."""
    texts = shown(first), shown(second)
    return (repr(first), repr(second)) if texts[0] == texts[1] and first != second else texts


def valid(row: Scored, metric: str) -> float | None:
    """Return the value of a metric that may win, else ``None``."""
    score = row.scores[metric]
    return float(score.value) if score.eligible and score.value is not None else None


def lacking(metric: str, score: Score) -> str:
    """Return why a score that is not eligible cannot win."""
    if score.value is None:
        return f"no {metric}: {score.reason or score.status}"
    return f"{metric} {shown(float(score.value))} cannot win: {score.reason or score.status}"
