"""The contract that every reporter keeps."""

from __future__ import annotations

import pytest

pytest.importorskip("mlflow")
contracts = pytest.importorskip("rt_framework.testing.contracts")
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """The default database lies in the current directory."""
    monkeypatch.chdir(tmp_path)


class TestMlflow(contracts.ReporterContract):
    plugin = "rt_mlflow"
    name = "mlflow"
    options = None
