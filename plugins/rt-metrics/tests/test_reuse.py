"""A metric that is added later costs no forward pass where the losses are there; a pair without them has no number."""

from __future__ import annotations

import json
import math
from pathlib import Path

import metrics_parts
import pytest
from metrics_parts import ROWS, lines

ALL = ("s-ifd-50", "s-ifd-75", "grape", "rsr", "ifd-length-residual", "deita-complexity", "deita-quality", "deita")


def test_after_ifd_grape_is_free(score):
    """So is IFD without length. RSR reads single tokens, and then IFD reads its sums."""
    assert score("ifd")[1] == 2 * len(ROWS)
    assert score("ifd", "grape", "ifd-length-residual")[1] == 0
    assert score("rsr")[1] == len(ROWS)


def test_after_s_ifd_all_that_read_the_response_are_free(score):
    """Both passes by token were computed once."""
    assert score("s-ifd-50")[1] == 2 * len(ROWS)
    for metric in ("s-ifd-75", "rsr", "ifd", "grape", "ifd-length-residual"):
        assert score(metric)[1] == 0, metric


def test_after_both_grades_their_product_is_free(score):
    """Six labels each; the row without a response has a complexity only."""
    assert score("deita-complexity")[1] == 6 * (len(ROWS) + 1)
    assert score("deita-quality")[1] == 6 * len(ROWS)
    assert score("deita", "deita-complexity", "deita-quality")[1] == 0


@pytest.mark.parametrize("preset", ["selective-rt", "superfiltering", "cherry", "chat"])
def test_a_row_without_a_response_has_no_number(score, preset):
    """Every other row has one by every metric, under every preset."""
    *scored, empty = score(*ALL, preset=preset)[0]
    assert all(math.isfinite(value) for line in scored for value in line["metrics"].values())
    assert {name for name, value in empty["metrics"].items() if value is not None} == {"deita-complexity"}


def test_a_conversation_is_scored_over_its_turns(score, tmp_path):
    """Over those that are trained: grades add up over the turns; GRAPE is the mean over all tokens."""
    turns = [("user", "Name a river."), ("assistant", "The Rhine flows north."), ("user", "And a lake?")]
    talk = [{"role": role, "content": text} for role, text in [*turns, ("assistant", "Lake Geneva is one of them.")]]
    Path("talk.json").write_text(json.dumps([{"messages": talk}]))
    ((line,), fed) = score(*ALL, preset="chat", data="talk.json", trained="all")
    assert fed == 2 * 2 + 2 * 2 * 6
    assert 2 <= line["metrics"]["deita-quality"] <= 12
    assert line["metrics"]["grape"] == pytest.approx(-line["losses"]["y|x"]["nll"] / line["losses"]["y|x"]["tokens"])
    assert len(line["losses"]["y|x"]["turns"]) == 2


CONFIG = {
    "data": {"path": "data.json"},
    "student": "counting",
    "scoring": {"preset": "selective-rt"},
    "pipeline": [{"measure": ["ifd"]}],
}


def run(rt, **changes) -> tuple[list[dict], int]:
    """The side file of a run in the same directory, and the sequences fed."""
    metrics_parts.FED.clear()
    Path("rt.yaml").write_text(json.dumps(CONFIG | changes))
    done = rt("run", "rt.yaml")
    assert done.code == 0, done.err
    return lines("runs/rt/scores.jsonl"), sum(metrics_parts.FED)


def test_added_to_a_finished_run_they_cost_nothing(rt):
    """By its pipeline, that measures and selects now."""
    assert run(rt)[1] == 2 * len(ROWS)
    found, fed = run(rt, pipeline=[{"measure": ["ifd", "grape"]}])
    assert fed == 0
    assert all(line["scores"]["original"]["grape"] < 0 for line in found[:-1])
    select = {"select": {"top": {"metric": "ifd-length-residual", "count": 3}}}
    found, fed = run(rt, pipeline=[{"measure": ["grape"]}, select])
    assert fed == 0
    assert sum(line["outcome"] == "original" for line in found) == 3


def test_a_run_selects_by_s_ifd(rt):
    """The best of those that a gate has let through: the threshold is that of their tokens. A second run is free."""
    pipeline = [{"gate": {"ifd": {"below": 1}}}, {"select": {"top": {"metric": "s-ifd-50", "count": 2}}}]
    found, _ = run(rt, pipeline=pipeline)
    values = {line["row"]: line["scores"]["original"].get("s-ifd-50") for line in found if line["row"] < len(ROWS)}
    passed = {row: value for row, value in values.items() if value is not None}
    best = set(sorted(passed, key=passed.__getitem__)[-2:])
    assert {line["row"] for line in found if line["outcome"] == "original"} == best
    assert run(rt, pipeline=pipeline)[1] == 0


def test_grape_chooses_the_rewrite_that_fits_best(rt):
    """``choose: {highest: grape}`` keeps the version of the lowest loss."""
    metrics_parts.ANSWERS.append(lambda request: json.dumps({"critique": "Too short.", "response": "A raft of reeds."}))
    pipeline = [{"reflect": "response"}, {"choose": {"highest": "grape"}}, {"measure": ["loss"]}]
    found, _ = run(rt, teacher="judge", pipeline=pipeline)
    chosen = 0
    for line in found[:-1]:
        grape = {version: scores["grape"] for version, scores in line["scores"].items()}
        assert line["kept"] == max(grape, key=grape.__getitem__)
        chosen += line["kept"] == "response"
    assert 0 < chosen < len(ROWS)
