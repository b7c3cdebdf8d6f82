"""r-IFD without echo: which tokens it reads, what it is worth without an echo, and what it costs."""

from __future__ import annotations

import math

import pytest

from rt_framework.builtin.metrics.novel import NovelRIFD
from rt_framework.builtin.metrics.ratios import RIFD
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.errors import Unscorable
from rt_framework.kit.echo import novel
from rt_framework.model import Pair, Turn
from rt_framework.spans import Loss, by_token
from rt_framework.testing import FakeStudent
from rt_framework.testing.chain import frame, measure


def scored_words(pair):
    """The parts of the instruction that are scored, of each turn."""
    spans = NovelRIFD().spans(pair, frame())
    assert [span.scored for span in spans["x|y"]] == [span.scored for span in spans["x"]]
    return [[span.target[begins:ends] for begins, ends in span.scored] for span in spans["x"]]


def test_the_words_that_the_response_repeats_are_not_scored():
    """In both passes the same ones; a single word in common repeats nothing."""
    pair = Pair("Name the gas that fills balloons.", "", "The gas is helium: it fills balloons at fairs.")
    assert scored_words(pair) == [["Name", "that"]]


def test_without_echo_it_is_r_ifd(tmp_path):
    """All words count, punctuation at the end of the last one aside."""
    pair = Pair("Name a light gas that floats", "", "Helium.")
    assert scored_words(pair) == [["Name a light gas that floats"]]
    (found,) = measure(tmp_path, [pair], {"plain": RIFD(), "novel": NovelRIFD()})
    assert found.scores["novel"].value == pytest.approx(found.scores["plain"].value, rel=1e-12)


def test_a_turn_is_held_against_its_own_response():
    """A turn that is repeated wholly is left out, and the others keep their tokens."""
    history = (Turn("user", "Tell me of helium"), Turn("assistant", "Gladly: tell me of helium, you say."))
    pair = Pair("And which of helium or neon", "", "Neon glows.", None, history)
    assert scored_words(pair) == [["And which of helium or neon"]]


def test_reasoning_is_no_answer():
    """It restates the question."""
    pair = Pair("Name a light gas", "", "<think>Name a light gas: helium.</think>Helium.")
    assert scored_words(pair) == [["Name a light gas"]]


def test_too_few_words_are_no_value():
    """None at all, and fewer tokens than four."""
    with pytest.raises(Unscorable, match="repeats every word") as caught:
        NovelRIFD().spans(Pair("Name a light gas", "", "I name a light gas."), frame())
    assert caught.value.status == "too_short"
    with pytest.raises(Unscorable, match="leaves 3 tokens"):
        NovelRIFD().reduce({"x|y": Loss(3.0, 3), "x": Loss(6.0, 3)})
    losses = {"x|y": Loss(2.0, 4), "x": Loss(6.0, 4)}
    assert NovelRIFD().reduce(losses) == pytest.approx(math.exp(-1.0))


def test_it_costs_what_r_ifd_costs(tmp_path):
    """As many sequences through the model."""
    pairs = [Pair(f"Name {number} light gases", "", "Helium, and light gases like it.") for number in range(5)]
    students = [FakeStudent(), FakeStudent()]
    for student, metric in zip(students, (RIFD(), NovelRIFD()), strict=True):
        (tmp_path / type(metric).__name__).mkdir()
        measure(tmp_path / type(metric).__name__, pairs, {"m": metric}, student)
    assert [student.forward_spans for student in students] == [10, 10]


@pytest.mark.model
def test_the_real_model_scores_the_tokens_of_new_words(smollm2_saved, tmp_path):
    """The difference of the two means over the tokens that offsets place in new words, from the losses of r-IFD."""
    pair = Pair("Explain why noble gases hardly react with others", "", "The noble gases hardly need an electron.")
    from transformers import AutoTokenizer

    by_tokens, student = _TokensOfRIFD(), HFStudent(HFSettings(smollm2_saved))
    scores = measure(tmp_path, [pair], {"novel": NovelRIFD(), "tokens": by_tokens}, student)[0].scores
    found, wanted = scores["novel"].value, scores["tokens"].value
    tokenizer = AutoTokenizer.from_pretrained(smollm2_saved)
    offsets = tokenizer(pair.question, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    new = [begins for begins, ends in novel(pair.question, pair.response, 2) for begins in range(begins, ends)]
    counted = [
        pair.question[start:end].strip() != "" and start + (pair.question[start] == " ") in new
        for start, end in offsets
    ]
    gap = [x - y for x, y in zip(by_tokens.given, by_tokens.alone, strict=True)]
    mean = sum(one for one, counts in zip(gap, counted, strict=True) if counts) / sum(counted)
    assert 4 <= sum(counted) < len(counted)
    assert found == pytest.approx(math.exp(mean), rel=1e-4) != pytest.approx(wanted, rel=1e-2)


class _TokensOfRIFD(RIFD):
    """r-IFD that notes the losses of single tokens."""

    def spans(self, pair, frame):
        """By token."""
        return {name: by_token(spans) for name, spans in super().spans(pair, frame).items()}

    def reduce(self, losses):
        """The tokens of both passes, then r-IFD."""
        self.given, self.alone = (losses[name].parts[0].token_nll for name in ("x|y", "x"))
        return super().reduce(losses)
