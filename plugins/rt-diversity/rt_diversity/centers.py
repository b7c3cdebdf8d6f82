"""k-center, greedily: samples from which no other is far.

min over A of max_i min_{j ∈ A} ‖x_i - x_j‖, to within a factor of 2 of the best radius: each pick is the vector
farthest from those before it (Gonzalez 1985; Algorithm 1 of arXiv 1708.00489).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rt_diversity.embeddings import Places, Vectors
from rt_diversity.facility import Picks
from rt_diversity.fixed import ONE, fixed


def k_center(vectors: Vectors, weights: Places, count: int) -> Picks:
    """Pick up to *count* vectors, the one most like the mean of all samples first; of equal ones the first.

    They end early where every vector is a pick. ``gains`` are distances to the picks before; that of the first is 0.
    """
    nearest, like = np.full(len(vectors), -ONE, np.int32), np.full(len(vectors), -1, np.int64)
    order: list[int] = []
    gains: list[float] = []
    wide = vectors.astype(np.float64)
    at = int(np.argmax(fixed(wide @ _mean(wide, weights)))) if len(wide) else 0
    while len(order) < count and not (order and nearest[at] == ONE):
        gains.append(distance(int(nearest[at])) if order else 0.0)
        now = fixed(wide @ wide[at])
        now[at] = ONE
        closer = (now > nearest) | (like < 0)
        like[closer] = len(order)
        nearest[closer] = now[closer]
        order.append(at)
        at = int(np.argmin(nearest))
    return Picks(order, gains, like, nearest)


def distance(similarity: int) -> float:
    """The distance of two unit vectors, from 0 to 2, by their fixed-point cosine."""
    return math.sqrt(2 * (1 - similarity / ONE))


def _mean(wide: NDArray[np.float64], weights: Places) -> NDArray[np.float64]:
    """The direction of the mean of all samples; 0 where they cancel out."""
    total: NDArray[np.float64] = weights @ wide
    return total / (np.linalg.norm(total) or 1)
