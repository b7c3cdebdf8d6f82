"""Losses of parts of a target: which tokens count, on every way of the forward pass, in both passes, in a metric."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer

from rt_framework import EncodedSpan, Range, Span, SpanLoss, aligned, by_token, only_scored
from rt_framework.builtin.students.forward import TargetLosses, TargetMeans
from rt_framework.builtin.students.head import TargetHead
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.probe import choose
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.errors import PluginError
from rt_framework.kit.encoding import Encoder
from rt_framework.scoring.store import key_of
from rt_framework.spans import total
from rt_framework.testing import FakeStudent
from tests import tiny_models as tiny
from tests.scoring_helpers import PAIRS, scores

TOKENS = tiny.tokenizer()
TEXT = "Red, orange. \n\nBlue é 🌸 and  violet. "


@pytest.fixture(scope="module")
def smol(smollm2_saved):
    return HFStudent(HFSettings(smollm2_saved, device="cpu"))


def parts(span, *bounds):
    """The span once for each range between two bounds, of which the first and the last are the target's own."""
    edges = [0, *bounds, len(span.target)]
    return [evolve(span, scored=(part,)) for part in pairwise(edges)]


# --- which ranges, and which tokens -------------------------------------------------------------


@pytest.mark.parametrize(
    ("scored", "reason"),
    [
        (((3, 3),), "3 to 3 is empty"),
        (((2, 1),), "2 to 1 is not inside the target, which has 6 characters"),
        (((-1, 2),), "-1 to 2 is not inside"),
        (((0, 7),), "0 to 7 is not inside"),
        (((0, 3), (2, 5)), "0 to 3 and 2 to 5 overlap or are out of order"),
        (((3, 5), (0, 2)), "3 to 5 and 0 to 2 overlap or are out of order"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(scored, reason):
    """In one line, where the metric makes the span."""
    with pytest.raises(ValueError, match=reason) as found:
        Span("Say: ", "abcdef", scored=scored)
    assert "\n" not in str(found.value)


def test_ranges_may_touch_and_may_come_as_lists():
    """They are kept as whole numbers, so that the key of the loss is one."""
    span = Span("Say: ", "abcdef", scored=[[0, 2], [2, 6]])
    assert span.scored == ((0, 2), (2, 6))
    with pytest.raises(TypeError):
        Span("Say: ", "abcdef", scored=((0.0, 2.0),))


@pytest.mark.parametrize("join", ["text", "ids"])
@pytest.mark.parametrize(
    ("scored", "counted"),
    [
        (((0, 12),), "Red, orange."),
        (((5, 11),), " orange"),
        (((1, 3), (15, 19)), "ed \n\nBlue"),
        (((22, 23),), " 🌸"),
        (((30, len(TEXT)),), "iolet. "),
        (((len(TEXT) - 1, len(TEXT)),), " "),
    ],
)
def test_a_token_counts_where_its_text_starts(join, scored, counted):
    """White space belongs to the word behind it, as in most tokenizers, and at the end to the last character."""
    tokens = tiny.tokenizer(bos=True)
    (encoded,) = Encoder.of(tokens, 512).encode([Span("Name it: ", TEXT, join, scored=scored)])
    assert tokens.decode([encoded.ids[position] for position in encoded.positions]) == counted


@pytest.mark.parametrize("trims", [True, False])
def test_what_a_tokenizer_says_of_white_space_makes_no_difference(trims):
    """Byte-level tokenizers may leave the white space before a word out of the word's place in the text."""
    from tokenizers import processors

    tokens = tiny.tokenizer()
    tokens.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=trims)
    spans = [Span("Say: ", "It is an and of it.", scored=((6, 12),)), Span("Say: ", TEXT, scored=((15, 24),))]
    found = Encoder.of(tokens, 512).encode(spans)
    assert [tokens.decode([one.ids[at] for at in one.positions]) for one in found] == [" an and", " \n\nBlue é 🌸"]


@given(
    text=st.text("ab é🌸\n", min_size=1, max_size=24),
    cuts=st.lists(st.integers(1, 23), max_size=3, unique=True),
    join=st.sampled_from(["text", "ids"]),
    paired=st.sampled_from([None, "", "Say it: "]),
    limit=st.sampled_from([None, 12, 20]),
)
@settings(max_examples=150)
def test_each_token_is_in_one_of_the_parts_that_cover_a_target(text, cuts, join, paired, limit):
    """Of both passes, whatever is cut off: the parts have the positions and the cut of the whole between them."""
    encoder = Encoder.of(TOKENS, 64)
    span = Span("Say: ", text, join, paired, limit)
    whole, *found = encoder.encode([span, *parts(span, *sorted(cut for cut in cuts if cut < len(text)))])
    if isinstance(whole, SpanLoss):
        assert all(isinstance(one, SpanLoss) for one in found)
        return
    some = [one for one in found if isinstance(one, EncodedSpan)]
    assert [position for one in some for position in one.positions] == list(whole.positions)
    assert {one.status for one in found if isinstance(one, SpanLoss)} <= {"empty", "no_room", "too_short"}
    assert sum(one.cut for one in some) <= whole.cut


def test_a_scored_part_without_a_token_has_a_status():
    """The one of an empty target; where the part is cut off or has no prediction, the one of such a target."""
    encoder = Encoder.of(TOKENS, 64)

    def status(span):
        (found,) = encoder.encode([span])
        return found.status

    assert status(Span("Say:", "yes", scored=())) == "empty"
    assert status(Span("Say:", "  ", scored=((0, 1),))) == "empty"
    assert status(Span("Say:", "yes please", scored=((3, 4),))) == "empty"
    assert status(Span("Say:", "yes please", max_tokens=7, scored=((8, 10),))) == "no_room"
    assert status(Span("", "yes", scored=((0, 1),))) == "too_short"
    (found,) = encoder.encode([Span("", "yes", "ids", count_only=True, scored=((0, 1),))])
    assert len(found.positions) == 1


def test_a_slow_tokenizer_scores_no_parts():
    """It does not say where a token starts, so such a span has no number; others are encoded as always."""

    class Slow:
        def __init__(self, tokens):
            self.tokens = tokens

        def __getattr__(self, name):
            return False if name == "is_fast" else getattr(self.tokens, name)

        def __call__(self, *args, **options):
            return self.tokens(*args, **options)

    part, whole = Encoder.of(Slow(TOKENS), 64).encode([Span("Say:", "yes", scored=((0, 1),)), Span("Say:", "yes")])
    assert (part.status, whole) == ("no_parts", Encoder.of(TOKENS, 64).encode([Span("Say:", "yes")])[0])


# --- the forward pass ---------------------------------------------------------------------------


def plainly(model, span):
    """The losses of all tokens behind the first, by full logits of the model alone."""
    with torch.inference_mode():
        logits = model(torch.tensor([span.ids])).logits[0, :-1].double()
    return cross_entropy(logits, torch.tensor(span.ids[1:]), reduction="none")


SPANS = [
    EncodedSpan((5, 6, 7, 8, 9, 10), 2, False, True, 0, ((2, 3), (4, 6))),
    EncodedSpan((5, 6, 7, 8, 9, 10), 2, False, True, 0, ((3, 4),)),
    EncodedSpan((5, 6, 7, 40, 41), 1),
    EncodedSpan((9, 40, 41, 42), 2, False, False, 0, ((2, 3),)),
]


@pytest.mark.parametrize("path", ["packed", "padded", "full logits"])
def test_only_scored_tokens_are_summed_and_reach_the_head(path):
    """On every way, equal to the model's own losses at these positions; the head computes no other."""
    model, seen = tiny.llama(), []
    own = None if path == "full logits" else TargetHead(model.get_output_embeddings(), model.config)
    losses = choose(model, None).losses if path == "packed" else TargetLosses(model, own, None)
    if losses._head is not None:
        kept = losses._head.nll_and_ranks
        losses._head.nll_and_ranks = lambda states, targets: (seen.append(len(targets)), kept(states, targets))[1]
    for span, loss in zip(SPANS, losses.of(SPANS), strict=True):
        theirs = plainly(model, span)[[position - 1 for position in span.positions]]
        assert (loss.tokens, loss.nll) == (len(span.positions), pytest.approx(float(theirs.sum()), rel=1e-5))
        assert loss.token_nll == (pytest.approx(theirs.tolist(), rel=1e-4) if span.by_token else None)
    assert seen == ([] if path == "full logits" else [sum(len(span.positions) for span in SPANS)])


def test_the_vector_of_a_part_is_the_mean_over_its_tokens():
    """Of the last hidden states."""
    model = tiny.llama()
    for span, vector in zip(SPANS, TargetMeans(model).begin(SPANS)(), strict=True):
        states = model(torch.tensor([span.ids]), output_hidden_states=True).hidden_states[-1][0]
        assert list(vector) == pytest.approx(states[list(span.positions)].mean(0).tolist(), rel=1e-4, abs=1e-6)


@pytest.mark.model
@pytest.mark.parametrize("join", ["text", "ids"])
def test_parts_of_the_real_model_add_up_to_the_whole(smol, smollm2_saved, join):
    """SmolLM2, packed: disjoint ranges over a target have its loss in sum, each that of a plain computation."""
    tokens = AutoTokenizer.from_pretrained(smollm2_saved)
    span = Span("Name the colours of the rainbow.\n", "Red, orange, yellow.\n\nBlue 🌸 and violet, of course.", join)
    cut = parts(span, 3, 21, 22, 28, 40)
    encoded = smol.encode([span, *cut])
    assert encoded[3].status == "empty"  # white space between two paragraphs
    sequences = [one for one in encoded if isinstance(one, EncodedSpan)]
    whole, *losses = smol.score(sequences)
    assert sum(one.tokens for one in losses) == whole.tokens
    assert math.fsum(one.nll for one in losses) == pytest.approx(whole.nll, abs=1e-4)
    theirs = plainly(smol._way.losses._model, sequences[0])
    for one, loss in zip(sequences[1:], losses, strict=True):
        assert one.ids == sequences[0].ids
        own = theirs[[position - 1 for position in one.positions]]
        assert loss.nll == pytest.approx(float(own.sum()), abs=1e-4)
    assert "".join(tokens.decode([one.ids[at] for at in one.positions]) for one in sequences[1:]) == span.target


# --- the chain of losses ------------------------------------------------------------------------


class LastWords:
    """Ratio of the losses of the response's second half, with and without its instruction."""

    direction, valid = "lower", Range()

    def spans(self, pair, frame):
        """Both passes, of the same half."""
        both = {"y|x": frame.response_given_instruction(pair), "y": frame.response_alone(pair)}
        return {
            name: by_token([evolve(span, scored=((len(span.target) // 2, len(span.target)),)) for span in turns])
            for name, turns in both.items()
        }

    def reduce(self, losses):
        """Over the tokens that both passes have."""
        matched = list(aligned(losses["y|x"], losses["y"]))
        assert len(matched) >= min(losses["y|x"].tokens, losses["y"].tokens) - 1
        return sum(given for given, _ in matched) / sum(alone for _, alone in matched)


METRICS = {"last-words": LastWords()}


async def test_a_metric_of_a_part_is_computed_once_and_beside_the_whole(ledger):
    """It has losses of its own, is found in the ledger, and changes no other metric."""
    first, second = FakeStudent(), FakeStudent()
    alone = await scores(ledger, PAIRS, ("ifd",), student=first, metrics=METRICS)
    before = first.forward_spans
    found = await scores(ledger, PAIRS, ("last-words", "ifd"), student=first, metrics=METRICS)
    again = await scores(ledger, PAIRS, ("ifd", "last-words"), student=second, metrics=METRICS)
    assert (before, first.forward_spans, second.forward_spans) == (40, 80, 0)
    assert [one["ifd"] for one in found] == [one["ifd"] for one in alone] == [one["ifd"] for one in again]
    assert [one["last-words"].value for one in again] == pytest.approx([one["last-words"].value for one in found])


def test_parts_belong_to_the_key_only_where_they_are_given():
    """So losses of before are found, and no part is taken for another."""
    span = Span("Say: ", "abcdef")
    keys = [key_of(evolve(span, scored=scored), "student") for scored in (None, (), ((0, 6),), ((0, 2), (3, 6)))]
    assert len(set(keys)) == 4


async def test_a_student_that_knows_no_parts_gives_no_number(ledger):
    """The loss of the whole target would look like a good one. It is asked again by a release that knows them."""

    class Older(FakeStudent):
        def encode(self, spans):
            return super().encode([evolve(span, scored=None) for span in spans])

    (one, *_) = await scores(ledger, PAIRS, ("last-words", "ifd"), student=Older(), metrics=METRICS)
    assert (one["last-words"].status, one["ifd"].status) == ("no_parts", "ok")
    assert "this student gives no losses of parts of a target" in one["last-words"].reason
    (one, *_) = await scores(ledger, PAIRS, ("last-words",), metrics=METRICS)
    assert one["last-words"].status == "ok"


async def test_a_student_that_sums_over_other_tokens_is_stopped(ledger):
    """It read where the target starts, and not which of its tokens count."""

    class FromTheStart(FakeStudent):
        def score(self, batch):
            return super().score([evolve(span, scored=None) for span in batch])

    class FirstWord(LastWords):
        def spans(self, pair, frame):
            return {"y": [evolve(span, scored=((0, 1),)) for span in frame.response_given_instruction(pair)]}

    with pytest.raises(PluginError, match=r"a loss of .* tokens where 1 are to be scored"):
        await scores(ledger, PAIRS, ("first",), student=FromTheStart(), metrics={"first": FirstWord()})


async def test_a_metric_with_ranges_that_make_no_sense_is_named(ledger):
    """Once, before anything is computed."""

    class Beyond(LastWords):
        def spans(self, pair, frame):
            return {"y": [evolve(span, scored=((0, 10**6),)) for span in frame.response_alone(pair)]}

    with pytest.raises(PluginError, match=r"metric 'beyond' failed in spans: .*0 to 1000000 is not inside the target"):
        await scores(ledger, PAIRS, ("beyond",), metrics={"beyond": Beyond()})


def test_tokens_of_two_passes_over_a_part_are_matched():
    """One pass is cut off earlier: its part has fewer tokens at the end, and the same are compared."""
    given = Span("Once upon a time: ", "a b c d e f", scored=((4, 11),), by_token=True, max_tokens=8)
    student = FakeStudent()
    passes = student.encode([given, evolve(given, context="", max_tokens=None)])
    words = [[one.ids[at] for at in one.positions] for one in passes]
    assert (words[0], passes[0].cut) == (words[1][: len(words[0])], 2)
    told = [
        SpanLoss(0.0, len(own), token_nll=tuple(map(float, own)), token_ranks=(1,) * len(own), cut=one.cut)
        for own, one in zip(words, passes, strict=True)
    ]
    matched = list(aligned(*(total([one]) for one in told)))
    assert [left for left, _ in matched] == [right for _, right in matched] == list(map(float, words[0]))


def test_a_student_of_ones_own_takes_the_parts_of_its_tokens():
    """The student tells the character at which each token starts, including tokens that are cut off."""
    span = Span("ab", "cd ef", scored=((3, 5),))
    encoded = EncodedSpan((1, 2, 3, 4, 5, 6), 2)
    assert only_scored(span, encoded, [0, 1, 2, 3, 4], 2) == EncodedSpan(encoded.ids, 4, cut=1, scored=((4, 6),))
    assert only_scored(evolve(span, scored=None), encoded, [], 2) is encoded
