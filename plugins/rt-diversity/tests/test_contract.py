"""The contract that every selector over a data set keeps."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn")
contracts = pytest.importorskip("rt_framework.testing.contracts")


class TestFacilityLocation(contracts.DatasetSelectorContract):
    plugin = "rt_diversity"
    name = "facility-location"
    options = {"first": 0.5, "count": 5, "model": "words:encode"}  # noqa: RUF012


class TestKCenter(contracts.DatasetSelectorContract):
    plugin = "rt_diversity"
    name = "k-center"
    options = {"count": 5, "model": "words:encode"}  # noqa: RUF012


class TestClusterStratified(contracts.DatasetSelectorContract):
    plugin = "rt_diversity"
    name = "cluster-stratified"
    options = {"clusters": 4, "each": 1, "model": "words:encode"}  # noqa: RUF012
