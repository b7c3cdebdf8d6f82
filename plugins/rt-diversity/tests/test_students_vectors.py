"""Selectors by the student's own vectors: the same choice as by any encoder, and rows that have none."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("sklearn")
import words
from attrs import evolve
from small_run import run_small
from words import kept, rows

from rt_diversity.selectors import ClusterStratified, FacilityLocation, KCenter
from rt_diversity.settings import ClusterSettings, FacilitySettings, KCenterSettings
from rt_framework.kit.compact import LazySequence

MADE = {
    "facility-location": (FacilityLocation, FacilitySettings(first=0.5, fraction=0.2)),
    "k-center": (KCenter, KCenterSettings(fraction=0.2)),
    "cluster-stratified": (ClusterStratified, ClusterSettings(clusters=6, fraction=0.2)),
}


def with_vectors(given, blank=()):
    """The same rows as a run gives them to a selector that reads vectors: those of the encoder of the tests."""

    def row(at):
        text = f"{given[at].version.pair.instruction}\n{given[at].version.pair.response}"
        return evolve(given[at], vector=lambda: None if at in blank else words.apart([text])[0].tolist())

    return LazySequence(len(given), row)


@pytest.mark.parametrize("name", MADE)
def test_the_students_vectors_are_chosen_by_like_any_other(name):
    """Verdicts and reasons are those of an encoder that gives the same vectors."""
    selector, settings = MADE[name]
    given = rows(120)
    by_encoder = selector(evolve(settings, model="words:apart")).select(given)
    by_student = selector(evolve(settings, embedder="student")).select(with_vectors(given))
    assert list(by_student) == list(by_encoder)


@pytest.mark.parametrize("name", MADE)
def test_a_row_without_a_vector_is_not_selected(name):
    """And says why; all others are decided on."""
    selector, settings = MADE[name]
    given = rows(60)
    verdicts = selector(evolve(settings, model="words:apart")).select(given)
    best = [at for at, verdict in enumerate(verdicts) if verdict.keep]
    chosen = selector(evolve(settings, embedder="student"))
    verdicts = list(chosen.select(with_vectors(given, best[:3])))
    assert {verdicts[at].reason for at in best[:3]} == {"the student gives no vector of it"}
    assert len(kept(chosen, with_vectors(given, best[:3]))) > 0
    assert not list(chosen.select([])) and len(list(chosen.select(with_vectors(rows(1), [0])))) == 1


@pytest.mark.parametrize("text", ["whole", "instruction", "response"])
def test_a_run_selects_by_its_student(text, tmp_path):
    """With any text, and without an encoder."""
    pipeline = [{"select": {"k-center": {"count": 2, "embedder": "student", "text": text}}}]
    lines = run_small(tmp_path, pipeline, "rt_diversity")
    assert sum(line["outcome"] == "original" for line in lines) == 2
    assert json.dumps(lines).count("from center") == 1
    assert json.dumps(lines).count("the student gives no vector of it") == 1  # the row without a response


def test_without_the_option_no_student_is_asked():
    """The selector then works without one, in `rt select` too."""
    assert KCenter(KCenterSettings(count=2)).embeds is None
