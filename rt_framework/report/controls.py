"""Control subsets for a selection: as large as the selection, and not chosen by any score."""

from __future__ import annotations

from collections.abc import Sequence

from rt_framework.kit.length_pool import LengthPool
from rt_framework.model import digest


def random_like(ids: Sequence[str], size: int, seed: int = 0) -> list[int]:
    """Return the positions of *size* of the ids, drawn by a hash of seed and id."""
    return sorted(range(len(ids)), key=lambda position: digest([seed, ids[position]]))[:size]


def length_matched(
    ids: Sequence[str], lengths: Sequence[int], chosen: Sequence[int], seed: int = 0
) -> tuple[list[int], int]:
    """Return, for each chosen position, another of nearly the same length, from those not chosen while there are any.

    Returns:
        the positions, and how many had to come from the chosen ones themselves.
    """
    taken = set(chosen)
    outside = LengthPool(
        (position for position in range(len(ids)) if position not in taken),
        lengths,
        lambda position: digest([seed, ids[position]]),
    )
    inside = LengthPool(chosen, lengths, lambda position: digest([seed, ids[position]]))
    matched, scarce = [], 0
    for position in chosen:
        scarce += not outside
        matched.append((outside or inside).take(lengths[position]))
    return matched, scarce
