"""The command: what it prints and writes, how it goes on after a stop, and what it refuses."""

from __future__ import annotations

import json

import pytest
from prove_parts import BEST, SELECTIVE, SMALL, held_out, rows


@pytest.fixture
def proved(prove, finished, rt_project):
    """Proves, and returns the content of the proof."""
    finished()

    def call(*arguments):
        done = prove(*SMALL, *arguments)
        assert (done.code, done.err) == (0, ""), done.err
        return (rt_project.folder / "runs/rt/proof.json").read_bytes()

    return call


def test_a_proof_is_written_and_shown(prove, finished, fake, rt_project):
    """Arms, sets, a line a unit, cells, comparisons and limits."""
    finished()
    rt_project.write("held.json", [*held_out(), rows()[3]])
    training = fake()
    done = prove(*SMALL)
    assert done.code == 0, done.err
    assert "held out: plain: 6 prompts; removed, because they also stand in an arm: 1" in done.out
    assert "[1/13] model without training: plain 0." in done.out and "[13/13] random, seed 1, lr 0.002" in done.out
    assert training.count == 12
    proof = json.loads((rt_project.folder / "runs/rt/proof.json").read_text())
    assert [arm["name"] for arm in proof["arms"]] == ["kept", "original", "random"]
    assert proof["outcomes"][0]["removed"] == 1 and proof["seeds"] == [0, 1]
    words = done.words
    for one in proof["comparisons"]:
        assert f"{one['value']:+.4f} {one['low']:+.4f} {one['high']:+.4f}" in words
    assert "no difference was seen; this could have seen one of" in words
    assert "are not corrected for the number of comparisons" in words
    assert "not trained" in words and f"{proof['base']['plain']:.4f}" in words


def test_a_program_gets_the_proof_alone(prove, finished, fake, rt_project):
    """The lines for people are on standard error; before all trainings are done, there are counts only."""
    finished()
    fake()
    some = prove(*SMALL, "--unit", "1/2", "--json")
    assert (some.code, json.loads(some.out)) == (0, {"units": 13, "finished": 7, "proof": None})
    done = prove(*SMALL, "--json")
    assert done.code == 0 and "[13/13] random, seed 1" in done.err
    proof = json.loads((rt_project.folder / "runs/rt/proof.json").read_text())
    assert json.loads(done.out) == {"units": 13, "finished": 13, "proof": proof}
    assert "--dry-run makes none" in prove(*SMALL, "--json", "--dry-run").error()


@pytest.mark.parametrize("stops", [[1], [3, 5, 9]])
def test_a_stopped_command_goes_on(stops, proved, prove, fake, rt_project):
    """To the same proof, byte by byte, and no training is done twice."""
    whole = proved_with(fake, proved)
    for path in (rt_project.folder / "runs/rt/proof").iterdir():
        path.unlink()
    (rt_project.folder / "runs/rt/proof.json").unlink()
    training = fake(stops)
    for _ in stops:
        done = prove(*SMALL)
        assert done.error(130) == "stopped; what is finished stays, and the same command goes on"
        assert not (rt_project.folder / "runs/rt/proof.json").exists()
    assert proved() == whole
    assert len(training.trained) == 12


def proved_with(fake, proved):
    fake()
    return proved()


def test_shares_are_collected(proved, prove, fake):
    """Three calls for three shares; the last command trains nothing."""
    training = fake()
    for number in (1, 2, 3):
        done = prove(*SMALL, "--unit", f"{number}/3")
        assert done.code == 0, done.err
    assert "13 of 13 units are finished; the command without --unit collects them" in done.out
    assert training.count == 12
    collected = proved()
    assert training.count == 12
    assert proved() == collected


def test_more_seeds_use_what_is_there(proved, prove, fake):
    """The trainings of the first seeds are found."""
    fake()
    proved()
    training = fake()
    assert json.loads(proved("--seeds", 3))["seeds"] == [0, 1, 2]
    assert training.count == 6


def test_real_trainings_end_in_a_proof(finished, prove, rt_project):
    """A small model, killed by nobody: losses fall, and the folder holds results only."""
    finished()
    done = prove("--seeds", 1, "--arms", "kept,original", "--lr", "1e-2", "--epochs", 3)
    assert done.code == 0, done.err
    proof = json.loads((rt_project.folder / "runs/rt/proof.json").read_text())
    assert {cell["arm"] for cell in proof["cells"]} == {"kept", "original"}
    assert len({cell["means"]["plain"] for cell in proof["cells"]} | {proof["base"]["plain"]}) == 3
    assert all(path.suffix == ".json" for path in (rt_project.folder / "runs/rt/proof").iterdir())
    assert "no interval: one seed" in done.words


def test_a_dry_run_measures_and_keeps_nothing(finished, prove, rt_project):
    """Real steps of a small model."""
    finished()
    done = prove(*SMALL, "--dry-run")
    assert done.code == 0, done.err
    assert (
        "13 units, of which 0 are finished: the model without training, and arms × seeds × learning rates: 3 × 2 × 2"
        in done.out
    )
    assert "ms a token of training" in done.out and "one after the other" in done.out
    assert not (rt_project.folder / "runs/rt/proof").exists()


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arms", "kept,best"], "no arm is called 'best'; there are kept, all-rewrites"),
        (["--lr", "fast"], "--lr fast: expected numbers"),
        (["--lr", "0"], "a learning rate lies between 0 and 1"),
        (["--held-out", "eval.json"], "--held-out eval.json: expected KEY=VALUE"),
        (["--held-out", "x=nothing.json"], "nothing.json"),
        (["--held-out", "plain=held.json"], "--held-out: two sets have one name"),
        (["--outcome", "exam"], "--outcome exam: no installed package offers it"),
        (["--unit", "5/2"], "--unit 5/2: expected i/n"),
        (["--batch-size", 8, "--accumulate", 3], "--accumulate must divide --batch-size"),
        (["--max-length", 16], "--max-length 16: nothing is left of the responses of some samples: 8 of kept"),
    ],
)
def test_wrong_options_are_one_line(arguments, message, finished, prove, fake):
    finished()
    fake()
    done = prove(*arguments)
    assert done.code == 2 and message in done.err, done.err
    assert "Traceback" not in done.err


def test_a_gguf_file_is_refused_before_anything_is_read(rt_project):
    done = rt_project.rt("prove", "nowhere", "--model", "x.gguf", "--held-out", "a=b.json")
    assert "a GGUF file cannot be trained" in done.error()


def test_a_held_out_set_is_needed_and_must_not_be_in_the_arms(finished, rt_project, model, prove):
    """Without one there is nothing to measure; one of training prompts measures nothing."""
    finished(*SELECTIVE)
    done = rt_project.rt("prove", "runs/rt", "--model", model)
    assert done.error() == "name at least one held-out set with --held-out NAME=FILE"
    done = prove("--arms", "kept,original", held="plain=data.json")
    assert done.error().startswith("data.json: each of its 20 prompts also stands in an arm")


def test_a_run_that_is_not_finished_is_refused(finished, prove, rt_project):
    finished()
    (rt_project.folder / "runs/rt/manifest.json").unlink()
    assert "the run is not finished" in prove().error()


def test_a_users_file_in_the_place_of_the_proof_is_kept(finished, prove, fake, rt_project):
    """It is not replaced."""
    finished(*SELECTIVE, BEST)
    fake()
    rt_project.write("runs/rt/proof.json", "mine")
    assert "exists already" in prove().error()
    assert (rt_project.folder / "runs/rt/proof.json").read_text() == "mine"
