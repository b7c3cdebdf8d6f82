"""Losses and ranks of single tokens: from the model's head to a metric, each computed once."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import torch
from attrs import evolve

from rt_framework import aligned, by_token
from rt_framework.builtin.executors.local import LocalExecutor
from rt_framework.builtin.students import head
from rt_framework.builtin.students.forward import TargetLosses
from rt_framework.builtin.students.head import TargetHead
from rt_framework.builtin.students.probe import choose
from rt_framework.config.builder import Builder
from rt_framework.kit.encoding import Encoder
from rt_framework.model import Pair, Range
from rt_framework.plugin.host import Host
from rt_framework.scoring.losses import Losses
from rt_framework.scoring.presets import preset
from rt_framework.scoring.spans_of import PresetSpans
from rt_framework.spans import EncodedSpan, SpanLoss, total
from rt_framework.testing import FakeStudent
from tests import tiny_models as tiny
from tests.scoring_helpers import PAIRS, scores

SPANS = [
    EncodedSpan((5, 6, 7, 8, 9, 10), 2, by_token=True),
    EncodedSpan((5, 6, 7, 40, 41), 1, by_token=True),
    EncodedSpan((9, 40, 41), 1),
]


class MeanRank:
    """Mean rank of the response's tokens."""

    direction, valid = "lower", Range()

    def spans(self, pair, frame):
        return {"y|x": by_token(frame.response_given_instruction(pair))}

    def reduce(self, losses):
        ranks = losses["y|x"].token_ranks
        return sum(ranks) / len(ranks)


class LastToken(MeanRank):
    """Loss of the last token, without its instruction."""

    def spans(self, pair, frame):
        return {"y": by_token(frame.response_alone(pair)), **super().spans(pair, frame)}

    def reduce(self, losses):
        return losses["y"].token_nll[-1]


METRICS = {"mean-rank": MeanRank(), "last": LastToken()}


def plainly(model, span):
    """Losses and ranks of the targets, by full logits and sorting."""
    with torch.no_grad():
        logits = model(torch.tensor([span.ids])).logits[0, span.start - 1 : -1].double()
    targets = span.ids[span.start :]
    nll = [-float(row.log_softmax(-1)[target]) for row, target in zip(logits, targets, strict=True)]
    order = [row.argsort(descending=True).tolist() for row in logits]
    return nll, [1 + row.index(target) for row, target in zip(order, targets, strict=True)]


@pytest.mark.parametrize("path", ["packed", "padded", "full logits"])
def test_they_are_the_models_own(path, monkeypatch):
    """On every path, with the vocabulary in several blocks; a span that does not ask gets none."""
    monkeypatch.setitem(head.LOGITS_BYTES, "cpu", 4 * 320)
    model = tiny.llama()
    own = None if path == "full logits" else TargetHead(model.get_output_embeddings(), model.config)
    losses = choose(model, None).losses if path == "packed" else TargetLosses(model, own, None)
    *found, plain = losses.of(SPANS)
    assert plain.token_nll is None and plain.token_ranks is None
    for span, loss in zip(SPANS, found, strict=False):
        nll, ranks = plainly(model, span)
        assert loss.token_nll == pytest.approx(nll, rel=1e-5)
        assert list(loss.token_ranks) == ranks
        assert loss.nll == pytest.approx(sum(nll), rel=1e-5)


async def test_each_is_computed_once(ledger):
    """IFD first: its sums do not hold tokens, so a metric of tokens computes. After it no metric does."""
    counts = []
    for names in (("ifd",), ("mean-rank",), ("mean-rank", "last"), ("ifd", "last", "mean-rank"), ("loss",)):
        student = FakeStudent()
        await scores(ledger, PAIRS, names, student=student, metrics=METRICS)
        counts.append(student.forward_spans)
    assert counts == [40, 20, 20, 0, 0]


async def test_asked_together_they_share_a_pass(ledger):
    """One span wanted with and without its tokens is one sequence, whatever the order of the metrics."""
    student = FakeStudent()
    both, other = ("ifd", "mean-rank"), ("mean-rank", "ifd")
    found = [await scores(ledger, PAIRS, names, student=student, metrics=METRICS) for names in (both, other)]
    assert student.forward_spans == 40
    assert found[0] == [dict(sorted(one.items())) for one in found[1]]
    assert all(score["mean-rank"].value >= 1 for score in found[0])


async def test_what_is_kept_is_what_was_computed(ledger):
    """To the precision of float32, and ranks exactly."""
    fresh = await scores(ledger, PAIRS, ("last", "mean-rank"), metrics=METRICS)
    kept = await scores(ledger, PAIRS, ("last", "mean-rank"), metrics=METRICS)
    assert [one["mean-rank"] for one in fresh] == [one["mean-rank"] for one in kept]
    assert [one["last"].value for one in fresh] == pytest.approx([one["last"].value for one in kept], rel=1e-6)


async def test_a_student_without_them_gives_no_number(ledger):
    """And its plain losses stay what they are."""

    class Sums(FakeStudent):
        fingerprint = "sums"

        def score(self, batch):
            return [SpanLoss(loss.nll, loss.tokens) for loss in super().score(batch)]

    (one, *_) = await scores(ledger, PAIRS, ("mean-rank", "ifd"), student=Sums(), metrics=METRICS)
    assert one["mean-rank"].status == "no_token_losses"
    assert one["ifd"].value is not None


# --- two passes over one target ---------------------------------------------------------------


def loss(*turns):
    """A loss by token, of turns that are ``(losses, cut)``."""
    return total([evolve(told(nll), cut=cut) for nll, cut in turns])


def told(nll):
    """The loss of a span with these of its tokens."""
    return SpanLoss(sum(nll), len(nll), token_nll=nll, token_ranks=(1,) * len(nll))


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ([((1, 2, 3), 0)], [((7, 8, 9), 0)], [(1, 7), (2, 8), (3, 9)]),
        ([((1, 2, 3), 0)], [((8, 9), 0)], [(2, 8), (3, 9)]),
        ([((1, 2), 1)], [((8, 9), 0)], [(2, 8)]),
        ([((1, 2), 2)], [((7, 8, 9, 10), 0)], [(1, 7), (2, 8)]),
        ([((1, 2, 3), 0)], [((7,), 5)], []),
        ([((1, 2), 0), ((3, 4), 0)], [((8,), 0), ((6, 9), 0)], [(2, 8), (3, 6), (4, 9)]),
    ],
    ids=["same", "no first", "cut by one", "cut by more", "nothing in common", "turns apart"],
)
def test_tokens_of_two_passes_are_matched(one, other, together):
    """From the end of each turn, where each pass was cut off counted in."""
    assert list(aligned(loss(*one), loss(*other))) == together


@pytest.mark.parametrize("bos", [True, False], ids=["bos", "no bos"])
@pytest.mark.parametrize("name", ["selective-rt", "superfiltering", "cherry"])
@pytest.mark.parametrize("missing", [-9, 0, 1, 2, 12])
async def test_they_are_the_same_tokens_where_texts_are_cut(ledger, bos, name, missing):
    """Under each preset that joins texts, whatever is cut off: the ids are the same, fresh and from the ledger."""
    chosen, tokenizer = preset(name), tiny.tokenizer(bos=bos)
    template = Builder(Host(only=[]))("templates", chosen.template)
    pair = Pair("Name the rainbow.", "", "Red, orange, yellow, green, blue, indigo and violet: seven of them.")
    whole = len(tokenizer(template.prompt(pair) + pair.response)["input_ids"])
    frame = PresetSpans(chosen, template, whole - missing)
    spans = {"y|x": by_token(frame.response_given_instruction(pair)), "y": by_token(frame.response_alone(pair))}
    for _ in range(2):
        async with losses_of(ledger, Telling(tokenizer)) as losses:
            (by_name,) = await losses.of([spans])
        given, alone = by_name["y|x"], by_name["y"]
        matched = list(aligned(given, alone))
        assert [left for left, _ in matched] == [right for _, right in matched]
        assert len(matched) >= min(given.tokens, alone.tokens) - 1
        assert given.parts[0].cut == max(missing, 0)


class Telling:
    """A student whose loss of a token is the token's id."""

    fingerprint = "telling"

    def __init__(self, tokenizer):
        self._encoder = Encoder.of(tokenizer, 512)

    def encode(self, spans):
        return self._encoder.encode(spans)

    def score(self, batch):
        return [told(tuple(map(float, span.ids[span.start :]))) for span in batch]


@asynccontextmanager
async def losses_of(ledger, student):
    """The chain of losses, without a metric."""
    executor = LocalExecutor()
    executor.start(lambda: student)
    losses = Losses(student, executor, ledger, 2048)
    yield losses
    await losses.close()
    executor.close()
