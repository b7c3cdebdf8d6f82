"""Control subsets for a selection: as large as the selection, and not chosen by any score."""

from __future__ import annotations

from collections.abc import Sequence

from rt_framework.kit.length_pool import LengthPool
from rt_framework.model import digest


def random_like(ids: Sequence[str], size: int, seed: int = 0) -> list[int]:
    """Return the positions of *size* of the ids, drawn by a hash of seed and id."""
    return sorted(range(len(ids)), key=lambda position: digest([seed, ids[position]]))[:size]


def matched(ids: Sequence[str], values: Sequence[int], chosen: Sequence[int], seed: int = 0) -> tuple[list[int], int]:
    """Return, for each chosen position, another of nearly the same value, from those not chosen while there are any.

    Args:
        ids: ids of the samples.
        values: their lengths, or another property by which samples are matched.
        chosen: positions of the chosen samples.
        seed: decides between samples that are equally near.

    Returns:
        the positions, and how many had to come from the chosen ones themselves.
    """
    taken = set(chosen)
    outside = LengthPool(
        (position for position in range(len(ids)) if position not in taken),
        values,
        lambda position: digest([seed, ids[position]]),
    )
    inside = LengthPool(chosen, values, lambda position: digest([seed, ids[position]]))
    taken_for, scarce = [], 0
    for position in chosen:
        scarce += not outside
        taken_for.append((outside or inside).take(values[position]))
    return taken_for, scarce
