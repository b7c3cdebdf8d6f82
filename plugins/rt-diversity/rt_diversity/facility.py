"""Facility location, greedily: a few samples such that every sample is like one of them.

F(A) = Σ_i w_i max(0, max_{j ∈ A} cos(i, j)), over all candidates i; w_i counts samples of one text. F is monotone and
submodular, so the greedy choice reaches at least 1 - 1/e of the best value (Nemhauser et al. 1978), and a gain computed
earlier is a bound of the gain now: the lazy greedy choice (Minoux 1978) computes few gains anew and is the same.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import frozen

from rt_diversity.embeddings import Places, Vectors
from rt_diversity.fixed import ONE, Fixed, fixed

DENSE = 5_000
"""Most vectors of which all similarities are kept: 100 MB."""

_BLOCK = 256
"""Vectors whose similarities to all are computed at a time: with :data:`DENSE` vectors 10 MB in float64."""

Columns = Callable[[int], tuple[Any, Fixed]]
"""The similarities to a vector that are not 0: which vectors have them (an index), and how large they are."""


@frozen
class Picks:
    """The picked vectors, and for each vector the pick that it is most like."""

    order: list[int]
    """Picked vectors, the first pick first. They end early where no other would add anything."""
    gains: list[float]
    """Increase of F by each pick."""
    like: Places
    """For each vector the pick it is most like, as a place in *order*; -1 for one that is like none."""
    similarity: Fixed
    """Similarity of each vector to that pick."""


def columns(vectors: Vectors, neighbours: int) -> Columns:
    """All similarities up to :data:`DENSE` vectors; beyond, those of each vector to its nearest ones."""
    return dense(vectors) if len(vectors) <= DENSE else sparse(vectors, neighbours)


def dense(vectors: Vectors) -> Columns:
    """All similarities: 4 bytes for each pair."""
    wide, table = vectors.astype(np.float64), np.empty((len(vectors), len(vectors)), np.int32)
    for at in range(0, len(wide), _BLOCK):
        table[at : at + _BLOCK] = np.maximum(fixed(wide[at : at + _BLOCK] @ wide.T), 0)
    np.fill_diagonal(table, ONE)
    return lambda at: (slice(None), table[at])


def sparse(vectors: Vectors, neighbours: int) -> Columns:
    """Similarities of each vector to itself and its *neighbours* nearest ones: 8 bytes each once they are found."""
    from scipy.sparse import csc_array
    from sklearn.neighbors import NearestNeighbors

    total, width = len(vectors), min(neighbours, len(vectors) - 1)
    # For unit vectors the nearest are the most similar. This search keeps no table of all pairs.
    nearest = NearestNeighbors(n_neighbors=width, algorithm="brute").fit(vectors).kneighbors(return_distance=False)
    found = np.empty((total, width + 1), np.int32)
    found[:, :width], found[:, width] = nearest, np.arange(total)
    del nearest
    like = np.empty(found.shape, np.int32)
    for at, others in enumerate(found):
        like[at] = np.maximum(fixed(vectors[others].astype(np.float64) @ vectors[at].astype(np.float64)), 0)
    like[:, width] = ONE
    rows = np.repeat(np.arange(total, dtype=np.int32), width + 1)
    table = csc_array((like.ravel(), (rows, found.ravel())), shape=(total, total))
    starts, places, values = table.indptr, table.indices, table.data
    return lambda at: (places[starts[at] : starts[at + 1]], values[starts[at] : starts[at + 1]])


def greedy(column: Columns, weights: Places, count: int) -> Picks:
    """Pick up to *count* vectors, each time the one that adds most; of equal ones the first."""
    total = len(weights)
    best, like = np.zeros(total, np.int32), np.full(total, -1, np.int64)

    def gain(at: int) -> int:
        which, values = column(at)
        return int((weights[which] * np.maximum(values - best[which], 0)).sum())

    bounds = [(-gain(at), at) for at in range(total)]
    heapq.heapify(bounds)
    order: list[int] = []
    gains: list[float] = []
    while bounds and len(order) < count:
        _, at = bounds[0]
        now = (-gain(at), at)
        heapq.heapreplace(bounds, now)
        if bounds[0] != now:
            continue
        heapq.heappop(bounds)
        if not now[0]:
            break
        which, values = column(at)
        better = values > best[which]
        like[which] = np.where(better, len(order), like[which])
        best[which] = np.maximum(values, best[which])
        order.append(at)
        gains.append(-now[0] / ONE)
    return Picks(order, gains, like, best)
