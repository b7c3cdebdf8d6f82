"""The choices are exactly those of plain computations over all rows and all pairs, without any trick."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("sklearn")
from words import kept, rows, uncased

from rt_diversity import facility
from rt_diversity.selectors import FacilityLocation, KCenter
from rt_diversity.settings import FacilitySettings, KCenterSettings
from rt_framework import Pair, Score, Scored, Version

SEEDS = range(5)


def by_id(given):
    """Ids, and unit vectors in float32, by id."""
    found = sorted((row.sample_id, row) for row in given)
    pairs = [row.version.pair for _, row in found]
    vectors = np.asarray(uncased([f"{pair.instruction}\n{pair.response}" for pair in pairs]), np.float32)
    return [id_ for id_, _ in found], vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rounded(cosines):
    """In whole steps of 2⁻²⁰: what counts as equal. Sums of these are exact."""
    return np.rint(cosines * 2**20)


def plain_facility_location(given, count):
    """Every gain of every row, from scratch, for each pick; of equal ones the smaller id."""
    ids, vectors = by_id(given)
    similar = np.maximum(rounded(vectors.astype(float) @ vectors.T.astype(float)), 0)
    chosen, best = [], np.zeros(len(ids))
    for _ in range(count):
        gains = [-1 if at in chosen else np.maximum(similar[at], best).sum() - best.sum() for at in range(len(ids))]
        chosen.append(int(np.argmax(gains)))
        best = np.maximum(best, similar[chosen[-1]])
    return {ids[at] for at in chosen}


def plain_k_center(given, count):
    """Every similarity to every pick, from scratch, for each pick; of equal ones the smaller id."""
    ids, vectors = by_id(given)
    wide = vectors.astype(float)
    mean = wide.mean(axis=0)
    chosen = [int(np.argmax(rounded(wide @ mean / np.linalg.norm(mean))))]
    while len(chosen) < count:
        nearest = rounded(wide @ wide[chosen].T).max(axis=1)
        nearest[chosen] = 2**21
        chosen.append(int(np.argmin(nearest)))
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


def twins(seed):
    """300 rows of which half say what the others do, in capitals; ids are in no order."""
    given = list(rows(150, seed))
    draw = np.random.default_rng(seed)
    texts = [row.version.pair.response for row in given]
    ids = draw.permutation(300)
    return [
        Scored(f"id-{ids[at]:03}", at, Version("original", Pair("say", "", text)), given[at % 150].scores)
        for at, text in enumerate([*texts, *(text.upper() for text in texts)])
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_of_different_texts_with_one_vector_the_smaller_id_is_picked(seed, monkeypatch):
    """By all similarities, by those of neighbours and by distances; rounding decides nothing."""
    given = twins(seed)
    settings = FacilitySettings(first=1, count=60, neighbours=299, model="words:uncased")
    expected = plain_facility_location(given, 60)
    assert kept(FacilityLocation(settings), given) == expected
    monkeypatch.setattr(facility, "DENSE", 10)
    assert kept(FacilityLocation(settings), given) == expected
    assert kept(KCenter(KCenterSettings(count=60, model="words:uncased")), given) == plain_k_center(given, 60)


def test_no_table_of_all_pairs_is_made_of_many_texts():
    """9,000 rows: such a table would take 324 MB, a tenth of it is enough. The choice depends on no order there too."""
    given = [Scored(f"id-{at}", at, Version("original", Pair(str(at))), {"ifd": Score(0.5)}) for at in range(9_000)]
    selector = FacilityLocation(FacilitySettings(first=1, count=50, neighbours=20, model="words:numbers"))
    tracemalloc.start()
    try:
        expected = kept(selector, given)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(expected) == 50 and peak < 32e6
    assert kept(selector, given[::-1]) == expected
