"""The choices are those of plain computations over all rows and all pairs, in float64, without any trick."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("sklearn")
from words import encode, kept, rows

from rt_diversity import facility
from rt_diversity.selectors import FacilityLocation, KCenter
from rt_diversity.settings import FacilitySettings, KCenterSettings

SEEDS = range(5)
TOLERANCE = 1e-4
"""Gains that differ by less count as equal, and the smaller id is taken: 300 roundings may add up to as much."""


def by_id(given):
    """Ids and unit vectors of rows, by id."""
    found = sorted((row.sample_id, row) for row in given)
    pairs = [row.version.pair for _, row in found]
    vectors = encode([f"{pair.instruction}\n{pair.response}" for pair in pairs])
    return [id_ for id_, _ in found], vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def first(values):
    """The first place of the largest value, up to rounding."""
    return next(at for at, value in enumerate(values) if value > max(values) - TOLERANCE)


def plain_facility_location(given, count):
    """Every gain of every row, from scratch, for each pick."""
    ids, vectors = by_id(given)
    similar = np.maximum(vectors @ vectors.T, 0)
    chosen, best = [], np.zeros(len(ids))
    for _ in range(count):
        gains = [-1 if at in chosen else np.maximum(similar[at], best).sum() - best.sum() for at in range(len(ids))]
        chosen.append(first(gains))
        best = np.maximum(best, similar[chosen[-1]])
    return {ids[at] for at in chosen}


def plain_k_center(given, count):
    """Every distance to every pick, from scratch, for each pick."""
    ids, vectors = by_id(given)
    chosen = [first(list(vectors @ vectors.mean(axis=0)))]
    while len(chosen) < count:
        gaps = np.linalg.norm(vectors[:, None] - vectors[None, chosen], axis=2).min(axis=1) ** 2
        gaps[chosen] = -1
        chosen.append(first(list(gaps)))
    return {ids[at] for at in chosen}


def best(given, share):
    """The best share by IFD; of equal ones the smaller id."""
    order = sorted(given, key=lambda row: (-row.scores["ifd"].value, row.sample_id))
    return order[: math.ceil(share * len(order))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("share", "count"), [(1.0, 30), (0.5, 40), (0.2, 6)])
def test_facility_location_is_the_plain_greedy_choice(seed, share, count):
    """Of 300 rows, with all similarities at hand."""
    given = rows(300, seed)
    found = kept(FacilityLocation(FacilitySettings(first=share, count=count, model="words:encode")), given)
    assert found == plain_facility_location(best(given, share), count)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sparse_graph_of_all_neighbours_is_the_dense_table(seed, monkeypatch):
    """The way of large data sets, with nothing left out, on 300 rows."""
    monkeypatch.setattr(facility, "DENSE", 10)
    monkeypatch.delattr(facility, "dense")
    given = rows(300, seed)
    settings = FacilitySettings(first=1, count=30, neighbours=299, model="words:encode")
    assert kept(FacilityLocation(settings), given) == plain_facility_location(given, 30)


@pytest.mark.parametrize("seed", SEEDS)
def test_k_center_is_the_plain_greedy_choice(seed):
    """Of 300 rows."""
    given = rows(300, seed)
    found = kept(KCenter(KCenterSettings(count=40, model="words:encode")), given)
    assert found == plain_k_center(given, 40)
