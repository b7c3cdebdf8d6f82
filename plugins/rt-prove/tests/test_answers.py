"""Answers of a model to held-out prompts: those of a small model, and those of a student that repeats the prompt."""

from __future__ import annotations

import json

import pytest
from prove_parts import held_out

from rt_framework import Pair, RtError, Turn
from rt_framework.kit.parts import Spec
from rt_prove import units
from rt_prove.answers import answers, held_out_answers
from rt_prove.held_out import HeldOutSet
from rt_prove.settings import Learner

PAIRS = [Pair(row["instruction"], row["input"], row["output"]) for row in held_out(5)]


@pytest.fixture
def answer(host, model, tmp_path):
    """Lets the small model answer, in a folder of its own."""

    def ask(pairs, max_tokens=6, student=None):
        folder = tmp_path / f"answers{len(list(tmp_path.iterdir()))}"
        return answers(host, student or Learner.named(model, "float32").student(), pairs, max_tokens, folder)

    return ask


def test_the_prompts_with_the_smallest_hashes_are_drawn():
    """More of them hold the fewer; each prompt once, whatever its response; never more than there are."""
    one = HeldOutSet("plain", (*PAIRS, Pair(PAIRS[0].instruction, "", "Another response.")), 0)
    drawn = [one.drawn(count) for count in (1, 3, 99)]
    assert [len(pairs) for pairs in drawn] == [1, 3, 5]
    assert drawn[2][:3] == drawn[1] and drawn[1][:1] == drawn[0]
    turned = HeldOutSet("plain", one.pairs[::-1], 0)
    assert [pair.instruction for pair in turned.drawn(3)] == [pair.instruction for pair in drawn[1]]
    assert len({pair.instruction for pair in drawn[2]}) == 5


def test_answers_are_greedy_and_cut_off(answer):
    """The same again, alone or in a batch; a longer answer begins with the shorter one; the response is not shown."""
    short = answer(PAIRS)
    assert short == answer(PAIRS) == [*answer(PAIRS[:1]), *answer(PAIRS[1:])]
    assert short == answer([Pair(pair.instruction, pair.input, "Other.") for pair in PAIRS])
    longer = answer(PAIRS, 12)
    assert all(len(long) > len(one) and long.startswith(one) for long, one in zip(longer, short, strict=True))


def test_conversations_are_answered(answer):
    """System prompt and earlier turns, also where they do not alternate, are shown to the model."""
    turns = (Turn("user", "Hm."), Turn("user", "Why?"))
    plain, talk = Pair("Well?", "", "So."), Pair("Well?", "", "So.", system="Be brief.", history=turns)
    assert answer([plain, talk], student=Spec("moody")) == ["to Well?", "to Be brief. / Hm. / Why? / Well?"]
    assert all(answer([plain, talk]))


def test_what_a_model_does_not_say(answer):
    """An empty answer is one, a prompt that fills the context has none, and an answer that is cut off is used."""
    asked = [Pair(f"Be {word}.", "", "So.") for word in ("kind", "silent", "endless", "cut")]
    assert answer(asked, student=Spec("moody")) == ["to Be kind.", "", None, "half an"]
    with pytest.raises(RtError, match=r"the trained model cannot answer: plugin_bug: .*no memory is left"):
        answer([Pair("Now break.", "", "So.")], student=Spec("moody"))


def test_each_set_has_its_answers(host, tmp_path):
    prompts = {"a": [Pair("Be kind.", "", "So.")], "b": [Pair("Be brief.", "", "So."), Pair("Be silent.", "", "So.")]}
    found = held_out_answers(host, Spec("moody"), prompts, 5, tmp_path / "answers")
    assert found == {"a": ["to Be kind."], "b": ["to Be brief.", ""]}


def test_answers_are_the_same_after_a_stop(finished, prove, rt_project, monkeypatch):
    """Real trainings of a small model, stopped while the second model answers: nothing of its unit is left."""
    finished()
    folder = rt_project.folder / "runs/rt/proof"
    options = ("--seeds", 1, "--arms", "kept,original", "--lr", "5e-1")
    options = (*options, "--samples", 4, "--batch-size", 1, "--generate", 3, "--max-tokens", 8)

    def files():
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    assert prove(*options).code == 0
    whole = files()
    for path in folder.iterdir():
        path.unlink()
    calls = []

    def stopped(*arguments):
        calls.append(held_out_answers(*arguments))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return calls[-1]

    monkeypatch.setattr(units, "held_out_answers", stopped)
    assert prove(*options).error(130) == "stopped; what is finished stays, and the same command goes on"
    assert [name[:4] for name in files()] == ["base"]
    assert prove(*options).code == 0
    assert len(calls) == 4 and files() == whole
    trained = [json.loads(text)["answers"]["plain"] for text in whole.values()]
    assert [len(one) for one in trained] == [3, 3, 3] and len({tuple(one) for one in trained}) == 3
