"""A changed config is noticed: refused with a diff; run-time keys may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rt_framework.config.schema import Data
from rt_framework.errors import ConfigError
from rt_framework.ledger.ledger import Ledger
from rt_framework.testing import FakeStudent, ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests.helpers import CONFIG, the_error
from tests.run_helpers import SELECTIVE, go, job, json_lines, outputs, row, rows, write_json


class Other(FakeStudent):
    """Another student."""

    fingerprint = "other"


def other_teacher() -> ScriptedTeacher:
    """Another teacher."""
    teacher = ScriptedTeacher(rewriting)
    teacher.identity = "other"
    return teacher


DATA = [row(1), row(2)]
LONG = [{"reflect": {"instruction": {"max_tokens": 99}}}, *SELECTIVE[1:]]
CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "data.content": ({"data": [row(1), row(3)]}, r"data\.content: [0-9a-f]{64} → [0-9a-f]{64}"),
    "data.shape": ({"source": {"shape": "prompt-completion"}}, r"data\.shape: alpaca → prompt-completion"),
    "data.columns": ({"source": {"columns": {"output": "topic"}}}, r"data\.columns\.output: None → topic"),
    "student": ({"student": Other()}, "student: fake-student-1 → other"),
    "scoring.preset": ({"scoring": {"preset": "chat"}}, r"scoring\.preset: selective-rt → chat"),
    "scoring.template": (
        {"scoring": {"preset": "selective-rt", "template": "alpaca"}},
        r"scoring\.template: vicuna → alpaca",
    ),
    "scoring.max_tokens": (
        {"scoring": {"preset": "selective-rt", "max_tokens": 99}},
        r"scoring\.max_tokens: 2048 → 99",
    ),
    "teacher": ({"teacher": other_teacher()}, "teacher: scripted → other"),
    "reflection instruction": ({"pipeline": LONG}, r"reflection instruction: \w+ → \w+"),
    "request of instruction": ({"pipeline": LONG}, 'request of instruction: - "max_tokens: 1024" \\+ "max_tokens: 99"'),
    "reflection response": (
        {"pipeline": [*SELECTIVE[:2], {"reflect": {"response": {"retry_temperature": 0.1}}}, SELECTIVE[3]]},
        r"reflection response: \w+ → \w+",
    ),
    "request of response": (
        {"pipeline": [*SELECTIVE[:2], {"reflect": {"response": {"retry_temperature": 0.1}}}, SELECTIVE[3]]},
        'request of response: - "temperature: 0.7" \\+ "temperature: 0.1"',
    ),
}
"""For each frozen fact, a change to it and the difference that is told."""


def run(folder: Path, change: dict[str, Any]) -> None:
    """The job in *folder*, with a change. Its rows can be read in two shapes."""
    data = [{**one, "prompt": one["instruction"], "completion": one["output"]} for one in change.get("data", DATA)]
    more = {"scoring": change["scoring"]} if "scoring" in change else {}
    config = job(folder, data, change.get("pipeline", SELECTIVE), **more)
    config = evolve(config, data=Data(config.data.path, **{"shape": "alpaca"} | change.get("source", {})))
    go(config, folder / "run", change.get("teacher"), change.get("student"))


def known_facts(folder: Path) -> set[str]:
    """The facts that a run directory stands on, by their paths."""
    with Ledger.reading(folder / "run" / "ledger.sqlite") as ledger:
        frozen = ledger.meta("frozen")
    return {
        f"{k}.{inner}" if isinstance(v, dict) else k
        for k, v in frozen.items()
        for inner in (v if isinstance(v, dict) else [""])
    }


@pytest.mark.parametrize("fact", CHANGES)
def test_what_a_run_stands_on_may_not_change(fact, tmp_path):
    """Refused with the difference, before anything is asked; the old run is left as it was, and goes on."""
    change, said = CHANGES[fact]
    run(tmp_path, {})
    before = outputs(tmp_path / "run")
    with pytest.raises(ConfigError, match=f"was started with other settings; use another --run-dir, .*{said}"):
        run(tmp_path, change)
    assert outputs(tmp_path / "run") == before
    run(tmp_path, {})
    assert outputs(tmp_path / "run") == before


def test_every_frozen_fact_has_a_change_here(tmp_path):
    """So that a new one cannot go untested."""
    run(tmp_path, {})
    assert known_facts(tmp_path) == set(CHANGES)


RUN_TIME = [
    {"limits": {"concurrency": 2, "in_flight": 3, "attempts": 2, "answers": 3}},
    {"limits": {"timeout": 9, "on_ambiguous": "hold", "fail_on_error": 0.5}},
    {"limits": {"samples": 1}},
    {"output": {"format": "jsonl", "shape": "messages"}},
    {"scoring": {"preset": "selective-rt", "batch_tokens": 100}},
    {"scoring": {"preset": "selective-rt", "executor": {"processes": {"workers": 1}}}},
    {"pipeline": [*SELECTIVE, {"gate": {"ifd": {"below": 0.5}}}]},
    {"pipeline": {"stages": SELECTIVE, "exhaustive": True}},
    {"pipeline": SELECTIVE[:2]},
]


@pytest.mark.parametrize("change", RUN_TIME, ids=lambda change: "-".join(map(str, change)))
def test_run_time_keys_may_change(change, tmp_path):
    """Limits, outputs, the executor and the stages may change: the run goes on with the answers that it has."""
    go(job(tmp_path, DATA, SELECTIVE), tmp_path / "run")
    teacher = ScriptedTeacher(rewriting)
    summary = go(job(tmp_path, DATA, **({"pipeline": SELECTIVE} | change)), tmp_path / "run", teacher)
    assert summary.total == change.get("limits", {}).get("samples", 2)
    assert len(teacher.requests) <= 2  # Those that an exhaustive run asks besides; none that was answered.


def test_more_samples_and_another_format_go_on_where_the_run_was(tmp_path):
    """Only what is new is asked."""
    go(job(tmp_path, rows(6), SELECTIVE, limits={"samples": 2}), tmp_path / "run")
    teacher = ScriptedTeacher(rewriting)
    config = job(tmp_path, rows(6), SELECTIVE, limits={"concurrency": 2}, output={"format": "jsonl"})
    summary = go(config, tmp_path / "run", teacher)
    assert summary.total == 6
    assert len(teacher.requests) == 8
    assert len(json_lines(tmp_path / "run/kept.jsonl")) == 6


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working directory with data and a config."""
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "data.json", rows(2))
    (tmp_path / "rt.yaml").write_text(CONFIG.replace("teacher: scripted", "teacher: held:teacher"))
    return tmp_path


def test_every_difference_is_in_one_line(here, rt, monkeypatch):
    """Data and scoring at once, by the command line; the old run is left as it was."""
    from tests import fakes_plugin

    monkeypatch.setitem(fakes_plugin.HELD, "teacher", ScriptedTeacher(rewriting))
    assert rt("run", "rt.yaml").code == 0
    kept = (here / "runs/rt/kept.json").read_bytes()
    write_json(here / "data.json", rows(3))
    error = the_error(rt("run", "rt.yaml", "--set", "scoring={preset: selective-rt, max_tokens: 64}"))
    assert error.startswith("runs/rt was started with other settings; use another --run-dir, or change them back: ")
    assert "data.content: " in error
    for difference in ("preset: chat → selective-rt", "template: chat → vicuna", "max_tokens: None → 64"):
        assert f"; scoring.{difference}" in error
    assert (here / "runs/rt/kept.json").read_bytes() == kept


def test_scores_of_another_preset_are_not_mixed(here, rt):
    """The losses beside a score file belong to one student and one preset."""
    assert rt("score", "data.json", "--student", "fake", "--out", "o.jsonl").code == 0
    error = the_error(rt("score", "data.json", "--student", "fake", "--out", "o.jsonl", "--preset", "superfiltering"))
    assert error.startswith("o.jsonl.rt was started with other settings; ")
    assert "scoring.preset: chat → superfiltering; scoring.template: chat → none" in error
