"""The proof of a run: how it is read, and what the report and the data card say of it."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from attrs import evolve

from rt_framework.errors import ConfigError, DataError
from rt_framework.export import export_hub
from rt_framework.jobs.packing import packed
from rt_framework.kit.proofs import (
    PROOF,
    AnswerCounts,
    Cell,
    Comparison,
    HeldOut,
    Proof,
    ProvedArm,
    described,
    read_proof,
    verdict,
)
from rt_framework.model import Pair
from rt_framework.plugin.host import Host
from rt_framework.report import write_report
from rt_framework.results import open_run
from tests.run_helpers import SELECTIVE, go, job, rows

EVIL = "<script>alert(1)</script>\x1b[31m"
UNPROVED = "nobody has trained on it yet"


def comparison(low: float | None = -0.4, high: float | None = -0.1, **parts: object) -> Comparison:
    """A comparison of what was kept with the originals."""
    smallest = None if low is None else 0.21
    base = Comparison("kept", "original", "plain", (1e-4, 3e-4), True, -0.25, low, high, smallest)
    return evolve(base, **parts)


def made(run: str, **parts: object) -> Proof:
    """A proof of two arms, two seeds and one learning rate."""
    proof = Proof(
        run=run,
        model="fingerprint",
        settings={"epochs": 1},
        versions={"trl": "1"},
        devices=("cpu",),
        arms=(ProvedArm("kept", "what the run kept", 4, 3, 100, 50), ProvedArm("original", EVIL, 4, 0, 90, 40)),
        left_out={"random": "too few"},
        outcomes=(HeldOut("plain", "mean token loss", False, 8, 1),),
        seeds=(0, 1),
        learning_rates=(1e-4, 3e-4),
        base={"plain": 2.0},
        cells=tuple(
            Cell(arm, rate, seed, {"plain": 1.5 + seed})
            for arm in ("kept", "original")
            for rate in (1e-4, 3e-4)
            for seed in (0, 1)
        ),
        best={"kept": 1e-4, "original": 3e-4},
        comparisons=(comparison(), comparison(best=False, value=9.0, learning_rates=(1e-4, 1e-4))),
    )
    return evolve(proof, **parts)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A finished run that kept everything."""
    go(job(tmp_path, rows(4), SELECTIVE), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def identity(run_dir: Path) -> str:
    """The identity of that run."""
    with open_run(run_dir) as run:
        return run.identity


def page(run_dir: Path) -> str:
    """The words of the report."""
    html = write_report(run_dir).read_text("utf-8")
    assert "<script>alert" not in html and "\x1b" not in html
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def card(run_dir: Path, out: Path) -> tuple[str, str]:
    """The data card, and what the export said."""
    said = export_hub(Host(only=[]), run_dir, out, "cc-by-4.0")
    return (out / "README.md").read_text("utf-8"), said


# --- reading ------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path):
    proof = made("run")
    assert read_proof(tmp_path, "run") is None
    (tmp_path / PROOF).write_text(proof.text())
    assert read_proof(tmp_path, "run") == proof


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: raw.update(run="other"), "is about another run, or the run was changed since"),
        (lambda raw: raw.update(schema=1), "its layout is 1, not 2"),
        (lambda raw: raw.pop("cells"), "cells"),
        (lambda raw: raw["cells"][0].update(means={"plain": float("nan")}), "means is not a finite number"),
        (lambda raw: raw["comparisons"][0].update(value=float("inf")), "value is not a finite number"),
        (lambda raw: raw["comparisons"][0].update(outcome="no"), "name outcomes that it does not have: no"),
        (lambda raw: raw.update(arms=3), "is no proof"),
        (lambda raw: raw.pop("schema"), "it has no key 'schema'"),
    ],
)
def test_what_is_no_proof_of_the_run_is_one_line(change, why, tmp_path):
    raw = json.loads(made("run").text())
    change(raw)
    (tmp_path / PROOF).write_text(json.dumps(raw))
    with pytest.raises(DataError, match=re.escape(why)) as caught:
        read_proof(tmp_path, "run")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "\xff"])
def test_text_that_is_none_is_one_line(text, tmp_path):
    (tmp_path / PROOF).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"proof\.json: is no proof as 'rt prove' writes it"):
        read_proof(tmp_path, "run")


def test_a_verdict_is_a_direction_or_a_size():
    proof = made("run")
    assert verdict(proof, comparison()) == "better than original"
    assert verdict(proof, comparison(0.1, 0.4, value=0.2)) == "worse than original"
    assert verdict(proof, comparison(-0.4, 0.1)) == "no difference was seen; this could have seen one of 0.21"
    assert verdict(proof, comparison(None, None)).startswith("no interval")


@pytest.mark.parametrize(
    ("higher_is_better", "down", "up", "words"),
    [
        (True, "worse", "better", "marks; higher is better"),
        (False, "better", "worse", "marks; lower is better"),
        (None, "lower", "higher", "marks"),
    ],
)
def test_the_direction_is_the_outcomes(higher_is_better, down, up, words):
    """The words say which number is higher where nobody knows which one is better."""
    outcome = HeldOut("plain", "marks", higher_is_better, 8)
    proof = made("run", outcomes=(outcome,))
    assert verdict(proof, comparison()) == f"{down} than original"
    assert verdict(proof, comparison(0.1, 0.4, value=0.2)) == f"{up} than original"
    assert described(outcome) == words


def test_the_identity_is_of_facts_and_outcomes(run_dir, identity, tmp_path):
    """The same for the same run again; another where another version was kept, or a sample was dropped."""
    go(job(tmp_path, rows(4), SELECTIVE), run_dir)
    with open_run(run_dir) as run:
        assert run.identity == identity
    go(job(tmp_path, rows(4), [*SELECTIVE[:2], {"select": {"random": {"count": 2}}}]), run_dir)
    with open_run(run_dir) as run:
        assert run.identity != identity


# --- report and card ----------------------------------------------------------------------------


def test_without_a_proof_the_page_and_the_card_say_so(run_dir, tmp_path):
    assert UNPROVED in page(run_dir) and "Trained and compared" not in page(run_dir)
    text, _ = card(run_dir, tmp_path / "hub")
    assert "Whether training on this data helps is not measured" in text


def test_a_proof_takes_the_place_of_the_caution(run_dir, identity, tmp_path):
    """With the comparisons at the best rates, every cell, the arms and those left out; no markup of it works."""
    (run_dir / PROOF).write_text(made(identity).text())
    words = page(run_dir)
    assert UNPROVED not in words
    assert "Yes: a model trained on it was better than one trained on a control." in words
    assert "A model trained on what was kept is better than one trained on original, by plain (-0.2500)." in words
    assert "kept against original plain -0.2500 -0.4000 to -0.1000 better than original" in words
    assert "+9.0000" not in words
    assert "not trained 2.0000 kept 0.0001 (best) all 2.0000 kept 0.0001 (best) 0 1.5000" in words
    assert "random was left out: too few" in words
    text, said = card(run_dir, tmp_path / "hub")
    assert "## Trained and compared" in text and "| kept | original | plain | -0.2500 | -0.4000 to -0.1000 |" in text
    assert "Whether training on this data helps" not in text and "<script>" not in text
    assert "ignored" not in said


def test_judged_answers_have_a_table_of_their_own(run_dir, identity, tmp_path):
    """On the page and on the card, beside the difference; they have no means, so no column among these."""
    base = made(identity)
    judged = comparison(0.05, 0.45, outcome="answers to plain", value=0.25)
    judged = evolve(judged, answers=AnswerCounts(4, 1, wins=4, ties=2, losses=2, equal=1, longer=3, unequal=5))
    outcome = HeldOut("answers to plain", f"verdicts of {EVIL}", True, 5)
    proof = evolve(base, outcomes=(*base.outcomes, outcome), comparisons=(*base.comparisons, judged))
    assert "judged in both orders" not in page_of(base, run_dir)
    words = page_of(proof, run_dir)
    assert "kept against original answers to plain +0.2500 +0.0500 to +0.4500 better than original" in words
    assert "kept against original answers to plain +0.2500 50.0 % 25.0 % 25.0 % 3 of 5 1" in words
    assert "one trained on original, by answers to plain (+0.2500)." in words
    assert "; higher is better, 5 prompts" in words and "learning rate seed plain not trained" in words
    text, _ = card(run_dir, tmp_path / "hub")
    assert "| kept | original | answers to plain | +0.2500 | 50.0 % | 25.0 % | 25.0 % | 3 of 5 | 1 |" in text


def page_of(proof: Proof, run_dir: Path) -> str:
    """The words of the report with a proof."""
    (run_dir / PROOF).write_text(proof.text())
    return page(run_dir)


@pytest.mark.parametrize("text", ["{", None])
def test_a_proof_that_is_none_is_a_caution(text, run_dir, tmp_path):
    """Malformed, or of another run: the page and the card are as without it."""
    (run_dir / PROOF).write_text(made("another").text() if text is None else text)
    words = page(run_dir)
    assert UNPROVED in words and "The proof is ignored: " in words and "Trained and compared" not in words
    text, said = card(run_dir, tmp_path / "hub")
    assert "Trained and compared" not in text and "; the proof is ignored: " in said


# --- rows for trainers --------------------------------------------------------------------------


def test_packed_rows_are_those_of_the_pack():
    (row,) = packed("trl", [Pair("Why?", "", "So.\ud800")])
    assert row == {
        "prompt": [{"role": "user", "content": "Why?"}],
        "completion": [{"role": "assistant", "content": "So.?"}],
    }
    for name in ("trl-preference", "nothing"):
        with pytest.raises(ConfigError, match=name):
            list(packed(name, []))
