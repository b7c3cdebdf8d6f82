"""The promises of every metric and stage, checked by the framework's own kit where it is there."""

from __future__ import annotations

import pytest

contracts = pytest.importorskip("rt_framework.testing.contracts")


class _Metric(contracts.MetricContract):
    plugin = "rt_metrics"
    options = None
    __test__ = False


class TestSIFD50(_Metric):
    __test__ = True
    name = "s-ifd-50"


class TestSIFD75(_Metric):
    __test__ = True
    name = "s-ifd-75"


class TestGrape(_Metric):
    __test__ = True
    name = "grape"


class TestRSR(_Metric):
    __test__ = True
    name = "rsr"


class TestComplexity(_Metric):
    __test__ = True
    name = "deita-complexity"


class TestQuality(_Metric):
    __test__ = True
    name = "deita-quality"


class TestEvol(_Metric):
    __test__ = True
    name = "deita"


class TestLengthResidual(_Metric):
    __test__ = True
    name = "ifd-length-residual"


class TestAlpaGasus(contracts.StageContract):
    plugin = "rt_metrics"
    name = "alpagasus"
    options = None
