"""Units of work: their keys, their files, and what is left after a failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attrs import evolve

from rt_framework import Pair, RtError
from rt_prove.arms import Arm
from rt_prove.held_out import HeldOutSet
from rt_prove.settings import Generation, Learner, Training
from rt_prove.units import FOLDER, Plan, share


@pytest.fixture
def plan(tmp_path, host, model):
    """Two arms, two seeds, two learning rates, one set of three prompts; in a directory that is a run's."""
    (tmp_path / ".rt-framework").write_text('{"rt-framework": "run"}\n')
    arms = tuple(Arm(name, (Pair(f"Why {name}?", "", "So."),), 0) for name in ("kept", "random"))
    sets = (HeldOutSet("plain", tuple(Pair(f"What is {n}?", "", f"It is {n}.") for n in range(3)), 0),)
    return Plan.of(
        host,
        tmp_path,
        Learner.named(model, "float32"),
        settings=Training(),
        arms=arms,
        sets=sets,
        outcomes=(),
        seeds=(0, 1),
        rates=(1e-4, 3e-4),
    )


def keys(plan):
    return [unit.key for unit in plan.units()]


def test_a_unit_is_an_arm_a_seed_and_a_rate(plan):
    """The model without training comes first; seeds are complete one after the other."""
    units = list(plan.units())
    assert [unit.label for unit in units[:4]] == [
        "model without training",
        "kept, seed 0, lr 0.0001",
        "random, seed 0, lr 0.0001",
        "kept, seed 0, lr 0.0003",
    ]
    assert len(units) == len(set(keys(plan))) == 9


@pytest.mark.parametrize(
    ("changed", "stays"),
    [
        ({"settings": Training(epochs=2)}, "the base"),
        ({"fingerprint": "another model"}, ""),
        ({"sets": (HeldOutSet("plain", (Pair("Another?", "", "Yes."),), 0),)}, ""),
        ({"seeds": (0, 1, 2)}, "all"),
        ({"rates": (1e-4, 3e-4, 1e-3)}, "all"),
        ({"run_dir": Path("elsewhere")}, "all"),
    ],
)
def test_the_key_is_of_what_decides_the_result(plan, changed, stays):
    """More seeds and rates leave what is finished as it is; other settings leave the model without training."""
    before, after = keys(plan), keys(evolve(plan, **changed))
    same = set(before) & set(after)
    assert same == {"": set(), "the base": {before[0]}, "all": set(before)}[stays]


GOLDEN = ["13cea7bd54ea7e0ceb96e31b9adff8f0", "27a9290125158b70521e99efb5bf042e", "7b83eb37e997c848ec6e637b01312fab"]
"""The keys as they were before models could answer."""


def test_a_proof_without_answers_keeps_its_keys(plan, monkeypatch):
    """So that units from before are found; every unit has another key where models answer, or answer otherwise."""
    monkeypatch.setattr("rt_prove.units.versions", lambda: {"trl": "1"})
    plan = evolve(plan, fingerprint="fp", seeds=(0,), rates=(1e-4,))
    assert keys(plan) == GOLDEN
    asked = [Generation(2, 256), Generation(3, 256), Generation(2, 64)]
    made = [key for one in asked for key in keys(evolve(plan, generation=one))]
    assert len({*GOLDEN, *made}) == 12


def test_answers_are_in_the_file_where_they_are_asked_for(plan, fake):
    """And otherwise the file is as it was before models could answer."""
    fake()
    answering = evolve(plan, generation=Generation(2, 256))
    with_, without = (list(one.units())[1] for one in (answering, plan))
    measured = answering.work(with_)
    assert answering.found(with_) == measured and len(measured.answers["plain"]) == 2
    plan.work(without)
    raw = json.loads((plan.run_dir / FOLDER / without.file).read_text())
    assert set(raw) == {"key", "device", "numbers"}


def test_an_arm_of_other_samples_has_other_keys(plan):
    """Its name does not matter."""
    other = evolve(plan.arms[0], pairs=(Pair("Why not?", "", "So."),))
    before, after = keys(plan), keys(evolve(plan, arms=(other, plan.arms[1])))
    assert [one == two for one, two in zip(before, after, strict=True)] == [True] + [False, True] * 4


def test_a_release_of_the_trainer_changes_the_keys(plan, monkeypatch):
    before = keys(plan)
    monkeypatch.setattr("rt_prove.units.versions", lambda: {"trl": "99"})
    assert not set(before) & set(keys(plan))


def test_a_finished_unit_is_found(plan, fake):
    """With its numbers, and nothing else is left in the folder."""
    fake()
    units = list(plan.units())
    assert plan.found(units[1]) is None
    measured = plan.work(units[1])
    assert plan.found(units[1]) == measured
    assert len(measured.numbers["plain"]) == 3
    assert [path.name for path in (plan.run_dir / FOLDER).iterdir()] == [units[1].file]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RtError("the disk is full")])
def test_nothing_is_left_of_a_unit_that_failed(plan, fake, error):
    """Neither an adapter nor half a file."""
    fake([1], error)
    unit = list(plan.units())[1]
    with pytest.raises(BaseException):  # noqa: B017 - Ctrl-C is none of the ordinary ones
        plan.work(unit)
    assert plan.found(unit) is None and list((plan.run_dir / FOLDER).iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"key": "other", "device": "cpu", "numbers": {}}', '{"key": 1}'])
def test_a_damaged_file_is_named(plan, text):
    """It is not made anew behind the user's back: who knows what else is damaged."""
    unit = next(plan.units())
    path = plan.run_dir / FOLDER / unit.file
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(RtError, match=r"base-\w+\.json: cannot be read: .*; delete it, and it is made anew"):
        plan.found(unit)


def test_shares_are_disjoint_and_complete(plan):
    units = list(plan.units())
    shares = [share(units, f"{number}/4") for number in range(1, 5)]
    assert sorted(unit.key for one in shares for unit in one) == sorted(keys(plan))
    assert share(units, None) == units


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b", "1/", "-1/3", "1/0"])
def test_a_share_that_is_none_is_refused(part):
    with pytest.raises(RtError, match="expected i/n, such as 1/4"):
        share([], part)


@pytest.mark.parametrize("name", ["model.gguf", "hf:folder/Model.GGUF"])
def test_a_gguf_file_cannot_be_trained(name):
    """The error has the command that makes a folder of safetensors."""
    with pytest.raises(RtError, match=r"a GGUF file cannot be trained; .*'python demo/model\.py FOLDER'"):
        Learner.named(name, "auto")
