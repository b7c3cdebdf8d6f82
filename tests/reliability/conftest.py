"""Sizes: small in every test run, those of the promises with ``RT_RELIABILITY=large``; and the command line."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.reliability.jobs import Commands
from tests.reliability.kills import Killed, Point, killed


@pytest.fixture(scope="session")
def size() -> Callable[[int, int], int]:
    """``size(small, large)``: the one that this test run is for."""
    large = os.environ.get("RT_RELIABILITY") == "large"
    return lambda small, full: full if large else small


@pytest.fixture
def rt(monkeypatch, capfd) -> Commands:
    """The command line, in this process."""
    return Commands(monkeypatch, capfd)


@pytest.fixture(scope="session")
def kills(tmp_path_factory, size) -> list[Killed]:
    """Runs killed at so many points, every other one by the clock, and taken to their end."""
    folder = tmp_path_factory.mktemp("kills")
    with ThreadPoolExecutor(2) as two:  # each run is a process of its own, with a server of its own
        return list(two.map(lambda seed: killed(folder / str(seed), Point.draw(seed)), range(size(30, 1000))))


@pytest.fixture(scope="session")
def unhurt(tmp_path_factory) -> Killed:
    """The same run, not killed."""
    done = killed(tmp_path_factory.mktemp("unhurt") / "run", Point("before an intent", 10_000))
    assert not done.died
    assert not done.asked_again
    return done
