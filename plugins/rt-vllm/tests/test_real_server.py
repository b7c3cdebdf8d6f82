"""A real server of vLLM against the student `hf`: `make test-vllm` starts one and names it in RT_VLLM_URL."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

URL = os.environ.get("RT_VLLM_URL")
MODEL = os.environ.get("RT_VLLM_MODEL", "")
ROWS = Path(os.environ.get("RT_VLLM_ROWS", Path(__file__).parents[3] / "demo" / "samples.json"))

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(URL is None, reason="RT_VLLM_URL names no server of vLLM"),
]

MOST = 1e-4
"""Nats a token by which a loss in float32 may differ from that of the student `hf`."""


@pytest.fixture
def rows(rt_project):
    """The first 200 rows with an answer."""
    data = [row for row in json.loads(ROWS.read_text("utf-8")) if row["output"].strip()][:200]
    return rt_project.write("data.json", data)


def scored(rt, rows, student, *words):
    """The lines of `rt score`."""
    out = rows.parent / f"{next(iter(student))}.jsonl"
    metrics = ("--metric", "ifd", "--metric", "r-ifd")
    done = rt("score", rows, "--student", json.dumps(student), *metrics, *words, "--out", out)
    assert done.code == 0, done
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.parametrize("words", [("--preset", "chat"), ("--preset", "selective-rt", "--template", "alpaca")])
def test_every_loss_is_that_of_the_student_hf(rt, rows, words):
    """All four of each row: as many tokens, sums that differ by float noise alone, and no score across 1."""
    served = scored(rt, rows, {"vllm": {"url": URL, "dtype": "float32", "at_once": 16}}, *words)
    local = scored(rt, rows, {"hf": {"model": MODEL, "dtype": "float32"}}, *words)
    gaps = []
    for one, other in zip(served, local, strict=True):
        assert one["losses"].keys() == other["losses"].keys() and len(one["losses"]) == 4
        for name, loss in one["losses"].items():
            assert loss.get("tokens") == other["losses"][name].get("tokens")
            assert (loss.get("nll") is None) == (other["losses"][name].get("nll") is None)
            if loss.get("nll") is not None:
                gaps.append(abs(loss["nll"] - other["losses"][name]["nll"]) / loss["tokens"])
    flips = sum(
        (one["metrics"][metric] < 1) != (other["metrics"][metric] < 1)
        for one, other in zip(served, local, strict=True)
        for metric in ("ifd", "r-ifd")
        if one["metrics"][metric] is not None
    )
    sys.stdout.write(f"{len(gaps)} losses, largest difference {max(gaps):.2g} nats a token, {flips} flips at 1\n")
    assert max(gaps) <= MOST and flips == 0


def test_one_server_is_student_and_teacher(rt, rt_project, rows):
    """The whole job on four rows, and again without a request."""
    rt_project.write("four.json", json.loads(rows.read_text())[:4])
    job = {
        "data": {"path": "four.json"},
        "student": {"vllm": {"url": URL, "dtype": "float32"}},
        "teacher": "student",
        "scoring": {"preset": "chat"},
        "pipeline": "selective-rt",
    }
    config = rt_project.write("rt.yaml", job)
    assert rt("run", config).code in (0, 1)  # a model of 135M parameters hardly ever answers in the form
    assert "0 teacher calls sent" in rt("run", config).out
