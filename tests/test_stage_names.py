"""A decision names its stage by what the stage is: however it was written, readers find the stage that decided."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from rt_framework.config.builder import Builder
from rt_framework.config.pipelines import PIPELINES
from rt_framework.export.preferences import Preferences
from rt_framework.kit.parts import Spec
from rt_framework.pipeline.job import steps_of
from rt_framework.plugin.host import Host
from rt_framework.report.noise import Doubts
from rt_framework.report.survey import survey_of
from rt_framework.results import open_run
from rt_framework.rundir.manifest import read_manifest
from tests.run_helpers import go, job, outputs, rows, side

REWRITE = {"reflect": "response"}

FORMS = {
    "choose highest ifd": [
        {"choose": {"highest": "ifd"}},
        {"choose": {"highest": {"metric": "ifd"}}},
        {"choose": {"highest": {"metric": "ifd", "gates": {}}}},
        {"choose": {"selector": {"highest": "ifd"}}},
        {"choose": {"selector": "highest:ifd"}},
        {"choose": "highest:ifd"},
        "choose:highest:ifd",
    ],
    "choose lowest r-ifd": [
        {"choose": {"lowest": "r-ifd"}},
        {"choose": {"selector": {"lowest": {"metric": "r-ifd"}}}},
    ],
    "choose lowest metric r-ifd, gates ifd below 1": [
        {"choose": {"lowest": {"metric": "r-ifd", "gates": {"ifd": {"below": 1}}}}},
        {"choose": {"selector": {"lowest": {"gates": {"ifd": {"below": 1.0}}, "metric": "r-ifd"}}}},
    ],
    "choose not-higher loss": [
        {"choose": {"not-higher": "loss"}},
        {"choose": {"selector": {"not-higher": {"metric": "loss"}}}},
    ],
    "choose newest": [
        {"choose": "newest"},
        {"choose": {"newest": None}},
        {"choose": {"selector": "newest"}},
        "choose:newest",
    ],
    "gate ifd below 1, r-ifd below 0.999": [
        {"gate": {"ifd": {"below": 1}, "r-ifd": {"below": 0.999}}},
        {"gate": {"metrics": {"ifd": {"below": 1.0, "above": None}, "r-ifd": {"below": 0.999}}}},
    ],
    "select threshold metric ifd, below 1": [
        {"select": {"threshold": {"metric": "ifd", "below": 1}}},
        {"select": {"selector": {"threshold": {"below": 1.0, "metric": "ifd"}}}},
    ],
    "select top metric ifd, count 2": [
        {"select": {"top": {"metric": "ifd", "count": 2}}},
        {"select": {"selector": {"top": {"metric": "ifd", "count": 2, "of": "valid"}}}},
    ],
    "select random count 2": [{"select": {"random": {"count": 2, "seed": 0}}}, {"select": {"random": {"count": 2}}}],
    "choose random-version 0.5": [
        {"choose": {"random-version": {"rate": 0.5}}},
        {"choose": {"selector": {"random-version": {"rate": 0.5, "seed": 0}}}},
    ],
    "select echo-matched metric ifd, count 2": [
        {"select": {"echo-matched": {"metric": "ifd", "count": 2}}},
        {"select": {"selector": {"echo-matched": {"metric": "ifd", "count": 2, "seed": 0}}}},
    ],
    "select length-matched metric ifd, count 2": [
        {"select": {"length-matched": {"metric": "ifd", "count": 2}}},
        {"select": {"selector": {"length-matched": {"metric": "ifd", "count": 2, "seed": 0}}}},
    ],
}
"""The label of a stage, and ways to write that stage; every selector that is built in is among them."""


def found(run_dir: Path):
    """The preferences of a finished run, and its close calls where scores that differ by a tenth count as equal."""
    with open_run(run_dir) as run:
        doubts = evolve(Doubts.of(run), noise=0.1)
        return list(Preferences(run)), [name for history in run for name in doubts.about(history)]


def ran(folder: Path, pipeline: object):
    """Everything that a run with this pipeline leaves, its preferences, and its close calls."""
    folder.mkdir()
    config = job(folder, rows(12), pipeline)
    go(config, folder / "run")
    return outputs(folder / "run"), *found(folder / "run")


def test_every_built_in_selector_has_its_forms():
    """None is left out below."""
    host = Host(only=())
    host.load()
    for name in host.registry.names("selectors"):
        assert any(f" {name}" in label for label in FORMS), name


@pytest.mark.parametrize("label", FORMS)
def test_a_stage_is_called_the_same_however_it_is_written(label):
    """Short, long, as text, and with options that are at their default."""
    for form in FORMS[label]:
        (step,) = steps_of(Builder(Host(only=())), [Spec.parse(form)])
        assert (step.label, step.name) == (label, f"1. {label}"), form


@pytest.mark.parametrize("label", FORMS)
def test_a_run_leaves_the_same_however_its_stage_is_written(label, tmp_path):
    """To the byte; and as many preference pairs and close calls."""
    short, *others = (ran(tmp_path / str(number), [REWRITE, form]) for number, form in enumerate(FORMS[label]))
    assert all(other == short for other in others)
    files, pairs, close = short
    stage = "-".join(label.split()[: 1 if label.startswith("gate") else 2])
    assert {pair.stage for pair in pairs} <= {stage}
    assert {decision["stage"] for line in side(tmp_path / "0" / "run") for decision in line["decisions"]} == {stage}
    if label.startswith(("choose highest", "choose lowest")):
        assert pairs
    if label.startswith(("choose highest", "choose lowest", "choose not-higher", "gate", "select threshold")):
        assert set(close) == {stage}
    else:
        assert not close
    assert files["kept.json"] != b"[]"


@pytest.mark.parametrize("name", PIPELINES)
def test_a_named_pipeline_is_read_like_its_stages(name, tmp_path):
    """Gates have bounds, and choices are known, whether the config names the pipeline or writes it."""
    named, written = ran(tmp_path / "named", name), ran(tmp_path / "written", list(PIPELINES[name]))
    assert named == written
    _, pairs, close = named
    if name == "selective-rt":
        assert {stage.partition("-")[0] for stage in close} == {"choose", "gate"}
        assert pairs
    manifests = [read_manifest(tmp_path / folder / "run")["stages"] for folder in ("named", "written")]
    assert manifests[0] == manifests[1] and len(manifests[0]) == len(PIPELINES[name])


def test_a_choice_that_occurs_again_is_a_stage_of_its_own(tmp_path):
    """Two stages that are written alike are told apart in decisions, preferences and the report's flow."""
    pipeline = [REWRITE, {"choose": {"highest": "ifd"}}, {"reflect": "instruction"}, {"choose": {"highest": "ifd"}}]
    config = job(tmp_path, rows(12), pipeline)
    go(config, tmp_path / "run")
    twice = [[decision["stage"] for decision in line["decisions"]] for line in side(tmp_path / "run")]
    assert twice == [["choose-highest", "choose-highest-2"]] * 12
    pairs, _ = found(tmp_path / "run")
    assert {pair.stage for pair in pairs} == {"choose-highest"}, "the second one is between two prompts"
    with open_run(tmp_path / "run") as opened:
        survey = survey_of(opened)
    assert survey.stages == ("input", "choose highest ifd", "choose highest ifd (2)", "end")
    assert len(survey.choices) == 24
