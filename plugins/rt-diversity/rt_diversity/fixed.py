"""Similarities as whole numbers, so that sums do not depend on their order and equal is equal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_diversity.embeddings import Vectors

ONE = 1 << 20
"""A similarity of 1. Float32 products of unit vectors are good to about a tenth of such a step."""

Fixed = NDArray[np.int32]


def fixed(cosines: Vectors) -> Fixed:
    """Cosines in steps of 1 / :data:`ONE`, none above 1."""
    return np.minimum(np.rint(cosines * ONE), ONE).astype(np.int32)
