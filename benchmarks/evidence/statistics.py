"""Statistics of paired comparisons: how often and how far a difference points to the better side.

In every function a difference is the value of the better side minus that of the worse one, so that there is no class
to balance: swapping the two sides of a comparison changes the sign of its difference and of its label.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


@frozen
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def share(differences: Numbers) -> Estimate:
    """Return the share of positive differences, ties one half, with Wilson's score interval (1927)."""
    count = len(differences)
    found = (np.sum(differences > 0) + np.sum(differences == 0) / 2) / count
    middle = (found + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(found * (1 - found) / count + _Z**2 / (4 * count**2))
    return Estimate(float(found), middle - half, middle + half)


def auc(differences: Numbers, draws: int = 2000, seed: int = 0) -> Estimate:
    """Return the AUC of a paired difference, with a bootstrap interval over the comparisons.

    It is P(d + d' > 0) + ½ P(d + d' = 0) over pairs of comparisons, a comparison with itself included: the sum of the
    ranks of the positive differences over the sum of all ranks (Wilcoxon 1945). A classifier that is given a
    comparison in one of its two orders, each as likely, and orders it by the difference, has this AUC.
    """
    generator = np.random.default_rng(seed)
    size = len(differences)
    drawn = [_signed_ranks(differences[generator.integers(size, size=size)]) for _ in range(draws)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Estimate(_signed_ranks(differences), float(low), float(high))


def _signed_ranks(differences: Numbers) -> float:
    sizes = np.abs(differences)
    _, places, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    won = np.where(differences > 0, 1.0, np.where(differences == 0, 0.5, 0.0))
    return float(np.sum(ranks * won) / np.sum(ranks))


def preference(columns: Numbers) -> list[Estimate]:
    """Return the coefficients of a conditional logistic model, P(better) = σ(Σ β d), with Wald intervals.

    Args:
        columns: differences, [comparisons, variables]; each variable is divided by its root mean square, so that the
            coefficients can be compared.

    Raises:
        ValueError: the maximum does not exist, since the differences separate the sides.
    """
    scaled = columns / np.sqrt(np.mean(columns**2, axis=0))
    beta = np.zeros(scaled.shape[1])
    for _ in range(100):
        chance = 1 / (1 + np.exp(-(scaled @ beta)))
        gradient = scaled.T @ (1 - chance)
        curvature = (scaled * (chance * (1 - chance))[:, None]).T @ scaled
        step = np.linalg.solve(curvature, gradient)
        beta = beta + step
        if np.max(np.abs(step)) < 1e-10:
            break
    else:
        raise ValueError("the differences separate the two sides: the model has no finite coefficients")
    halves = _Z * np.sqrt(np.diag(np.linalg.inv(curvature)))
    return [Estimate(float(b), float(b - half), float(b + half)) for b, half in zip(beta, halves, strict=True)]


def correlation(one: Numbers, other: Numbers) -> float:
    """Return Pearson's correlation of two differences; NaN if one is constant."""
    found: Any = np.corrcoef(one, other)[0, 1] if np.ptp(one) and np.ptp(other) else math.nan
    return float(found)
