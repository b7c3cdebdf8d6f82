"""Sizes: small in every test run, those of the promises with ``RT_RELIABILITY=large``; and the command line."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.reliability.jobs import Commands


@pytest.fixture(scope="session")
def size() -> Callable[[int, int], int]:
    """``size(small, large)``: the one that this test run is for."""
    large = os.environ.get("RT_RELIABILITY") == "large"
    return lambda small, full: full if large else small


@pytest.fixture
def rt(monkeypatch, capfd) -> Commands:
    """The command line, in this process."""
    return Commands(monkeypatch, capfd)
