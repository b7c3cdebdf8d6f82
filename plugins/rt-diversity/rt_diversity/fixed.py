"""Similarities as whole numbers, so that sums do not depend on their order and equal is equal.

The products are taken in float64. The last bits of one in float32 depend on where a vector stands in the table, and
where they reach the next whole number, one of two equal vectors would be the better pick.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ONE = 1 << 20
"""A similarity of 1. Float32 vectors are good to about a tenth of such a step."""

Fixed = NDArray[np.int32]


def fixed(cosines: NDArray[np.float64]) -> Fixed:
    """Cosines in steps of 1 / :data:`ONE`, none above 1."""
    return np.minimum(np.rint(cosines * ONE), ONE).astype(np.int32)
