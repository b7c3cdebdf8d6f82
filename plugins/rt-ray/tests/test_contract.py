"""The contract of every executor."""

from __future__ import annotations

import pytest

pytest.importorskip("ray")
contracts = pytest.importorskip("rt_framework.testing.contracts")


class TestRay(contracts.ExecutorContract):
    """On a cluster of this machine."""

    plugin = "rt_ray"
    name = "ray"
    options = {"workers": 1}  # noqa: RUF012
