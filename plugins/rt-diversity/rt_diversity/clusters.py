"""k-means over unit vectors, the same every time."""

from __future__ import annotations

import warnings

import numpy as np

from rt_diversity.embeddings import Places, Vectors


def k_means(vectors: Vectors, weights: Places, clusters: int, seed: int) -> Places:
    """The cluster of each vector, from 0, numbered in the order in which they first occur."""
    if not len(vectors):
        return np.empty(0, np.int64)
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    model = KMeans(min(clusters, len(vectors)), n_init=1, random_state=seed)
    # Threads add up their shares of a mean in any order; one of them keeps the result the same.
    with warnings.catch_warnings(), threadpool_limits(1):
        # Different texts may have one vector. A cluster that stays empty is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = model.fit(vectors, sample_weight=weights).labels_
    _, first, of = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[of]
