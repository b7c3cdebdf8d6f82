"""The arms: what each holds, and why one is left out."""

from __future__ import annotations

import json

import pytest
from prove_parts import SELECTIVE, rows

from rt_framework import RtError
from rt_framework.kit.echo import echo_of
from rt_prove.arms import ARMS, arms_of


@pytest.fixture
def arms(finished, host):
    """The arms of a run by name, and those left out."""

    def make(*names, stages=(), count=20, samples=None, seed=0):
        found = arms_of(finished(*stages, count=count), host, names or list(ARMS), samples, seed)
        return {arm.name: arm for arm in found.made}, found.left_out

    return make


def test_each_arm_holds_what_it_says(arms, rt_project):
    """Against the data and the files that the run wrote."""
    found, left_out = arms()
    assert left_out == {}
    folder = rt_project.folder / "runs" / "rt"
    kept = sorted(row["output"] for row in json.loads((folder / "kept.json").read_text()))
    side = [line for line in rt_project.records("runs/rt/scores.jsonl") if line["outcome"] in ("original", "rewritten")]
    assert {len(arm.pairs) for arm in found.values()} == {len(kept)} == {8}
    assert sorted(pair.response for pair in found["kept"].pairs) == kept
    assert found["kept"].rewritten == sum(line["outcome"] == "rewritten" for line in side)
    asked = [rows()[line["row"]]["output"] for line in side]
    assert sorted(pair.response for pair in found["original"].pairs) == sorted(asked)
    inputs = {row["output"] for row in rows()}
    for name, arm in found.items():
        unchanged = sum(pair.response in inputs for pair in arm.pairs)
        assert arm.rewritten == 8 - unchanged
        assert unchanged == {"all-rewrites": 0}.get(name, 8) or name in ("kept", "random-version")


def test_draws_are_repeated_and_a_seed_changes_them(finished, host):
    """The same arms again; other random ids with another seed; fewer samples are the first of more."""
    run = finished()
    draw = {
        (seed, samples): {arm.name: arm for arm in arms_of(run, host, list(ARMS), samples, seed).made}
        for seed, samples in ((0, None), (1, None), (0, 5))
    }
    again = arms_of(run, host, list(ARMS), None, 0)
    assert [arm.content for arm in again.made] == [arm.content for arm in draw[0, None].values()]
    assert draw[1, None]["random"].content != draw[0, None]["random"].content
    assert draw[1, None]["random-version"].content != draw[0, None]["random-version"].content
    assert draw[0, 5]["random"].pairs == draw[0, None]["random"].pairs[:5]
    assert {len(arm.pairs) for arm in draw[0, 5].values()} == {5}


def test_versions_are_drawn_at_the_rates_of_the_run(arms):
    """By the selector, choice after choice, over the samples that the run kept; what it could not draw is noted."""
    stages = ({"reflect": "response"}, {"choose": {"lowest": "r-ifd"}})
    found, _ = arms("kept", "random-version", "original", stages=stages, count=60)
    kept, drawn = found["kept"], found["random-version"]
    assert 0 < kept.rewritten < 60
    assert abs(drawn.rewritten - kept.rewritten) < 4 * (60 * 0.25) ** 0.5
    assert drawn.note == "" and drawn.content != kept.content
    for mine, one, other in zip(drawn.pairs, kept.pairs, found["original"].pairs, strict=True):
        assert mine.instruction == one.instruction == other.instruction
    twice, _ = arms("kept", "random-version", stages=SELECTIVE, count=60)
    assert "choices had no rewrite of the version drawn" in twice["random-version"].note


@pytest.mark.parametrize(
    ("name", "trait"), [("length-matched", lambda pair: len(pair.response)), ("echo-matched", echo_of)]
)
def test_matched_samples_are_nearer_than_random_ones(arms, name, trait):
    """In length or in echo, and none of them was kept while there are others."""
    stages = ({"select": {"top": {"metric": "ifd", "fraction": 0.25}}},)
    found, left_out = arms("kept", "random", name, stages=stages, count=60)
    assert left_out == {}

    def apart(one):
        pairs = zip(sorted(map(trait, found["kept"].pairs)), sorted(map(trait, found[one].pairs)), strict=True)
        return sum(abs(a - b) for a, b in pairs)

    assert apart(name) < apart("random") or apart("random") == 0
    assert not {pair.hash for pair in found["kept"].pairs} & {pair.hash for pair in found[name].pairs}
    assert found[name].note == ""


def test_scarce_matches_are_noted(arms):
    """The run kept more samples than it dropped, so some of the matches have to be kept samples."""
    found, _ = arms("kept", "length-matched", stages=({"select": {"random": {"count": 12}}},))
    scarce = 12 - 8
    assert found["length-matched"].note == f"{scarce} of them are kept samples, because too few others are left"


def test_arms_that_cannot_be_made_say_why(arms):
    """A run that rewrote nothing; arms that would be trained on the same samples twice."""
    found, left_out = arms(stages=({"measure": ["ifd"]},))
    assert list(found) == ["kept"]
    assert left_out["all-rewrites"] == "no sample has a rewrite"
    assert left_out["random-version"] == "the run chose between no versions"
    assert left_out["original"] == left_out["random"] == "it has the same samples as the arm 'kept'"


def test_an_arm_with_too_few_samples_is_left_out(finished, host):
    """And the command ends where no arm has as many."""
    run = finished()
    found = arms_of(run, host, ["kept", "random"], 15, 0)
    assert [arm.name for arm in found.made] == ["random"]
    assert found.left_out == {"kept": "it has 8 samples, fewer than --samples 15"}
    with pytest.raises(RtError, match="no arm can be made: kept: it has 8 samples, fewer than --samples 21; random"):
        arms_of(run, host, ["kept", "random"], 21, 0)


def test_a_pilot_is_refused(finished, host, rt_project):
    """It describes some rows only."""
    finished()
    assert rt_project.rt("pilot", "rt.yaml", "-n", 5).code == 0
    from rt_framework.results import open_run

    with open_run("runs/rt", host) as run, pytest.raises(RtError, match="the last run was a pilot"):
        arms_of(run, host, ["kept"], None, 0)
