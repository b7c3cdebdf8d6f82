"""The student's chain: each loss is computed once, in batches that fit, and what has no loss has a status."""

from __future__ import annotations

import asyncio
import math
import random
import sqlite3
import time
from contextlib import closing

import pytest

from rt_framework.errors import PluginError
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Pair, Range, Turn
from rt_framework.plugin.host import Host
from rt_framework.scoring.presets import PRESETS, preset
from rt_framework.spans import SpanLoss
from rt_framework.testing import FakeStudent
from tests.run_helpers import Wrong, pair
from tests.scoring_helpers import BOTH, PAIRS, scores, scoring


async def test_scores_are_those_of_the_formula(ledger):
    """Losses come from the spans of the preset, one by one, and the metric reduces them."""
    student = FakeStudent()
    async with scoring(ledger, student) as chain:
        (measured,) = await chain.measure([PAIRS[0]], BOTH)
        spans = {
            "y|x": chain.frame.response_given_instruction(PAIRS[0]),
            "y": chain.frame.response_alone(PAIRS[0]),
            "x|y": chain.frame.instruction_given_response(PAIRS[0]),
            "x": chain.frame.instruction_alone(PAIRS[0]),
        }
    alone = FakeStudent()
    losses = {name: alone.score(alone.encode(one))[0] for name, one in spans.items()}
    assert {name: (loss.nll, loss.tokens) for name, loss in measured.losses.items()} == {
        name: (loss.nll, loss.tokens) for name, loss in losses.items()
    }
    means = {name: loss.nll / loss.tokens for name, loss in losses.items()}
    assert measured.scores["ifd"].value == pytest.approx(math.exp(means["y|x"] - means["y"]))
    assert measured.scores["r-ifd"].value == pytest.approx(math.exp(means["x|y"] - means["x"]))


async def test_what_is_asked_together_is_one_batch(ledger):
    """Twenty samples and two metrics are a few forward passes, not eighty."""
    student = FakeStudent()
    await scores(ledger, PAIRS, BOTH, student=student, batch_tokens=100_000)
    assert student.forward_spans == 80
    assert student.forward_passes == 1


async def test_what_many_coroutines_ask_is_gathered(ledger):
    """Samples that ask one by one share batches as well."""
    student = FakeStudent()
    async with scoring(ledger, student, batch_tokens=100_000) as chain:
        await asyncio.gather(*(chain.score([one], ["ifd"]) for one in PAIRS))
    assert student.forward_spans == 40
    assert student.forward_passes <= 2


async def test_duplicates_are_computed_once(ledger):
    """Equal pairs, and equal spans of two metrics, are one sequence each."""
    student = FakeStudent()
    found = await scores(ledger, [PAIRS[0]] * 10, ("ifd", "ifd-loss", "ppl", "loss"), student=student)
    assert student.forward_spans == 2
    assert all(one == found[0] for one in found)


async def test_a_second_chain_computes_nothing(ledger):
    """Another process with the same ledger makes no forward pass and encodes nothing; a new metric of old spans too."""
    first = await scores(ledger, PAIRS, BOTH)

    class Sleeping(FakeStudent):
        def encode(self, spans):
            pytest.fail("the tokenizer was needed")

    async with scoring(ledger, Sleeping()) as chain:
        assert await chain.score(PAIRS, BOTH) == first
        values = await chain.score(PAIRS, ["ifd-loss", "r-ifd-loss", "ppl", "loss"])
        assert all(score.value is not None for one in values for score in one.values())
        assert (chain._losses[""].counts().passes, chain._losses[""].counts().tokens) == (0, 0)
        assert chain._losses[""].counts().reused > 0


async def test_another_student_or_another_length_is_another_loss(ledger):
    """Keys hold the fingerprint and the whole span."""

    class Other(FakeStudent):
        fingerprint = "fake-student-2"

    await scores(ledger, PAIRS[:1])
    for more in ({"student": Other()}, {"preset_name": "superfiltering"}):
        async with scoring(ledger, **more) as chain:
            await chain.score(PAIRS[:1], ["ifd"])
            assert chain._losses[""].counts().passes == 1


async def test_scores_do_not_depend_on_the_order_of_arrival(ledger, tmp_path):
    """Any order, alone or together, in small batches or large: the same numbers."""
    first = dict(zip(PAIRS, await scores(ledger, PAIRS, BOTH), strict=True))
    mixed = random.Random(1).sample(PAIRS, len(PAIRS))
    other = Ledger.writing(tmp_path / "other.sqlite")
    async with scoring(other, batch_tokens=60) as chain:
        for one in mixed:
            assert (await chain.score([one], BOTH))[0] == first[one]
        assert chain._losses[""].counts().passes > len(PAIRS)
    other.close()


# --- no number --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
async def test_a_student_s_nan_is_a_status(value, ledger):
    """It never reaches a metric, the ledger or a file as a number."""
    student = Wrong(lambda loss: SpanLoss(value, loss.tokens))
    ((found,), again) = (await scores(ledger, PAIRS[:1], student=student), Wrong(lambda loss: loss))
    assert (found["ifd"].value, found["ifd"].status) == (None, "nonfinite")
    assert found["ifd"].reason == f"y|x: the student's loss is {value}"
    assert await scores(ledger, PAIRS[:1], student=again) == [found]


async def test_a_target_without_a_prediction_has_a_status_and_a_reason(ledger):
    """The reason names the span."""
    (found,) = await scores(ledger, [pair(response="Yes.")], ["ifd"])
    assert (found["ifd"].value, found["ifd"].status) == (None, "too_short")
    assert found["ifd"].reason.startswith("y: ")
    assert not found["ifd"].eligible


ZERO_WIDTH = "\u200b\ufeff"
EMPTY = {
    "no response": (pair(response=""), "the response is empty"),
    "a blank response": (pair(response=" \n\t"), "the response is empty"),
    "a response that nobody sees": (pair(response=ZERO_WIDTH), "the response is empty"),
    "reasoning alone": (pair(response="<think>They want\na list.</think>\n"), "the response is empty, reasoning aside"),
    "no instruction": (pair(instruction=""), "the instruction is empty"),
    "a blank instruction": (pair(instruction="  ", input="\n"), "the instruction is empty"),
    "a system prompt alone": (pair(instruction="", system="You list things."), "the instruction is empty"),
    "nothing at all": (pair(instruction="", response=""), "the instruction is empty"),
    "a follow-up without words": (
        pair(instruction="", history=(Turn("user", "One?"), Turn("assistant", "A cork."))),
        "the instruction is empty",
    ),
    "an earlier turn without an answer": (
        pair(history=(Turn("user", "One?"), Turn("assistant", "<think>Hm.</think>", trained=True))),
        "the response of an earlier turn is empty, reasoning aside",
    ),
}
"""Pairs that have no question or no answer, and what is said of them."""


@pytest.mark.parametrize("preset_name", PRESETS)
@pytest.mark.parametrize("case", EMPTY)
async def test_a_pair_without_a_question_or_an_answer_has_no_score_in_any_direction(case, preset_name, ledger):
    """Of every built-in metric of losses and every preset; the student is not even asked."""
    made, reason = EMPTY[case]
    host, student = Host(only=()), FakeStudent()
    host.load()
    metrics = set(host.registry.names("metrics")) - {"echo"}  # which reads texts alone
    async with scoring(ledger, student, preset_name) as chain:
        (found,) = await chain.score([made], sorted(metrics))
    assert set(found) == {"ifd", "ifd-loss", "r-ifd", "r-ifd-loss", "r-ifd-novel", "loss", "ppl", "length"}
    several = made.history and preset_name != "chat"  # which the templates of the other presets do not show
    told = {(score.value, score.status, score.reason) for score in found.values()}
    assert several or told == {(None, "empty", reason)}
    assert all(score.value is None for score in found.values())
    assert student.forward_passes == 0


@pytest.mark.parametrize(
    "made",
    [
        pair(instruction="", input="Only an input that asks for things."),
        pair(response="\U0001fae8 \U0001fae8"),
        pair(response="Before. <think>Hm.</think>"),
        pair(system=""),
    ],
    ids=["input alone", "emoji", "an answer before the reasoning", "no system prompt"],
)
async def test_what_is_short_or_odd_but_there_is_scored(made, ledger):
    """An input is a question, and any character that is seen is an answer."""
    (found,) = await scores(ledger, [made], BOTH)
    assert {score.status for score in found.values()} <= {"ok", "out_of_range"}


async def test_one_metric_without_a_number_leaves_the_others(ledger):
    """A response of one word has no IFD where nothing stands before it, and an r-IFD all the same."""
    (found,) = await scores(ledger, [pair(response="Yes.")], BOTH)
    assert found["ifd"].value is None
    assert found["r-ifd"].status == "ok"


async def test_a_conversation_under_a_text_template_is_a_status(ledger):
    """The template has no form for it; the run goes on."""
    talk = pair(history=(Turn("user", "a"), Turn("assistant", "b")))
    found = await scores(ledger, [talk, PAIRS[0]])
    assert (found[0]["ifd"].value, found[0]["ifd"].status) == (None, "conversation")
    assert found[1]["ifd"].status == "ok"


async def test_a_conversation_is_the_weighted_sum_of_its_turns(ledger):
    """Exp of the token-weighted difference over all trained turns, with the per-turn losses beside it."""
    talk = pair(history=(Turn("user", "one two"), Turn("assistant", "three four five six", trained=True)))
    async with scoring(ledger, preset_name="chat") as chain:
        (measured,) = await chain.measure([talk], ["ifd"])
    given, alone = measured.losses["y|x"], measured.losses["y"]
    # One word less each: nothing stands before the first word of a turn scored alone.
    counts = [4 - 1, len(talk.response.split()) - 1]
    assert [part.tokens for part in given.parts] == [part.tokens for part in alone.parts] == counts
    assert given.nll == pytest.approx(sum(part.nll for part in given.parts))
    assert measured.scores["ifd"].value == pytest.approx(math.exp((given.nll - alone.nll) / given.tokens))


async def test_a_loss_of_zero_gives_no_ratio(ledger):
    """A division by zero is no score and no crash."""
    student = Wrong(lambda loss: SpanLoss(0.0, loss.tokens))
    (found,) = await scores(ledger, PAIRS[:1], ["ifd-loss", "ifd"], student=student)
    assert (found["ifd-loss"].value, found["ifd-loss"].status) == (None, "nonfinite")
    assert found["ifd"].value == 1.0


async def test_a_perplexity_beyond_all_floats_is_a_status(ledger):
    """Exp overflows; the mean loss is still there."""
    student = Wrong(lambda loss: SpanLoss(1000.0 * loss.tokens, loss.tokens))
    (found,) = await scores(ledger, PAIRS[:1], ["ppl", "loss", "ifd"], student=student)
    assert (found["ppl"].value, found["ppl"].status) == (None, "nonfinite")
    assert found["loss"].value == 1000.0
    assert found["ifd"].value == 1.0


async def test_lengths_need_no_forward_pass(ledger):
    """Counting is done by the tokenizer alone."""
    student = FakeStudent()
    (found,) = await scores(ledger, PAIRS[:1], ["length"], student=student)
    assert found["length"].value == len(PAIRS[0].response.split())
    assert student.forward_passes == 0


@pytest.mark.parametrize(("binds", "status"), [(True, "out_of_range"), (False, "ok")])
async def test_a_value_out_of_range_cannot_win_where_the_range_binds(binds, status, ledger):
    """The number stays; only `selective-rt` as published lets it win a choice."""
    found = await scores(ledger, PAIRS, range_binds=binds)
    above = [one["ifd"] for one in found if one["ifd"].value >= 1]
    below = [one["ifd"] for one in found if one["ifd"].value < 1]
    assert above
    assert below
    assert {score.status for score in above} == {status}
    assert {score.status for score in below} == {"ok"}
    assert all(score.eligible is not binds for score in above)


def test_only_the_published_preset_lets_a_range_pass():
    """Every other preset binds."""
    assert {name: preset(name).range_binds for name in ("selective-rt", "superfiltering", "cherry", "chat")} == {
        "selective-rt": False,
        "superfiltering": True,
        "cherry": True,
        "chat": True,
    }


# --- broken metrics ---------------------------------------------------------------------------


class Broken:
    """A metric that raises where it is told to."""

    direction = "higher"
    valid = Range()

    def __init__(self, where):
        self.where = where

    def spans(self, pair: Pair, frame):
        if self.where == "spans":
            raise AttributeError("no such field")
        return {"y|x": frame.response_given_instruction(pair)}

    def reduce(self, losses):
        raise AttributeError("no such field")


@pytest.mark.parametrize("where", ["spans", "reduce"])
async def test_a_metric_that_raises_is_named(where, ledger):
    """It is the plugin's fault, and the message says which and where."""
    with pytest.raises(PluginError, match=f"metric 'mine' failed in {where}: AttributeError: no such field"):
        await scores(ledger, PAIRS[:1], ["mine"], metrics={"mine": Broken(where)})


async def test_a_metric_that_returns_nonsense_is_a_status(ledger):
    """NaN and infinity are no scores."""

    class Nonsense(Broken):
        def reduce(self, losses):
            return math.nan

    (found,) = await scores(ledger, PAIRS[:1], ["mine"], metrics={"mine": Nonsense("")})
    assert (found["mine"].value, found["mine"].status) == (None, "nonfinite")


async def test_a_batch_is_committed_before_the_next_is_done(ledger):
    """A run that is killed on a slow device loses the batch that it computes, not the whole wave."""

    class Watched(FakeStudent):
        """Looks, through a connection of its own, at what is committed while the second batch runs."""

        known = 0

        def score(self, batch):
            if self.forward_passes == 1:
                deadline = time.monotonic() + 10
                with closing(sqlite3.connect(ledger.database.path)) as db:
                    while not self.known and time.monotonic() < deadline:
                        (self.known,) = db.execute("SELECT COUNT(*) FROM losses").fetchone()
            return super().score(batch)

    student = Watched()
    await scores(ledger, PAIRS, student=student, batch_tokens=60)
    assert student.forward_passes > 1
    assert student.known > 0
