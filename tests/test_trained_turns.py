"""Several trained turns by a real model: exact sums, one pass over a conversation, and choices that agree."""

from __future__ import annotations

import asyncio
import random
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import evolve

from rt_framework import turns
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.builtin.templates.chat import Chat
from rt_framework.data.conversations import trained_by
from rt_framework.kit.encoding import Encoder
from rt_framework.model import Pair, Turn
from rt_framework.scoring.planning import plan
from rt_framework.scoring.presets import preset
from rt_framework.scoring.spans_of import PresetSpans
from rt_framework.spans import EncodedSpan, Span
from tests import chat_templates, tiny_models
from tests.scoring_helpers import scores, scoring

WORDS = [
    "river",
    "name",
    "colour",
    "short",
    "poem",
    "write",
    "what",
    "rainbow",
    "rain",
    "in",
    "the",
    "a",
    "of",
    "about",
    "times",
]


def said(rng: random.Random, least: int = 3, most: int = 12) -> str:
    """A sentence of random words."""
    return " ".join(rng.choices(WORDS, k=rng.randint(least, most))) + "."


@cache
def conversations(count: int = 12) -> list[Pair]:
    """Conversations of two to nine rounds."""
    rng = random.Random(0)
    made = []
    for number in range(count):
        history = []
        for _ in range(rng.randint(1, 8)):
            history += [Turn("user", said(rng)), Turn("assistant", said(rng))]
        made.append(Pair(said(rng), "", said(rng), "Be brief." if number % 2 else None, tuple(history)))
    return made


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> HFStudent:
    """A random Llama with a chat template that renders each message by itself."""
    folder = tmp_path_factory.mktemp("model")
    tokens = tiny_models.tokenizer(chat=chat_templates.PLAIN)
    return HFStudent(HFSettings(tiny_models.save(Path(folder), tiny_models.llama(2048), tokens)))


@pytest.mark.parametrize("direction", ["y|x", "y", "x|y", "x"])
def test_the_sum_over_trained_turns_is_that_of_the_turns_one_at_a_time(direction, ledger, student):
    """To 1e-5 nats, in numbers of tokens exactly, in both directions and both passes."""
    pairs = conversations()

    async def losses(of):
        async with scoring(ledger, student=student, preset_name="chat") as chain:
            return [measured.losses[direction] for measured in await chain.measure(of, ["ifd", "r-ifd"])]

    together = asyncio.run(losses([trained_by(pair, "all") for pair in pairs]))
    alone = [[evolve(turn, trained=True) for turn in turns(trained_by(pair, "all"))] for pair in pairs]
    for whole, parts in zip(together, alone, strict=True):
        single = asyncio.run(losses([_last_only(part) for part in parts]))
        assert whole.tokens == sum(one.tokens for one in single)
        assert whole.nll == pytest.approx(sum(one.nll for one in single), abs=1e-5)
        assert len(whole.parts) == len(parts)


def _last_only(pair: Pair) -> Pair:
    return evolve(pair, history=tuple(evolve(turn, trained=False) for turn in pair.history))


def test_the_choice_by_the_last_turn_is_that_of_the_rewritten_turn_alone(ledger, student):
    """Turns before it are context, so both versions differ by the turn that is rewritten, and by nothing else."""
    rng = random.Random(1)
    for pair in conversations():
        versions = [pair, evolve(pair, response=said(rng, 8, 20))]
        (by_last) = asyncio.run(scores(ledger, versions, ("ifd",), student=student, preset_name="chat"))
        alone = [next(reversed(list(turns(trained_by(version, "all"))))) for version in versions]
        by_turn = asyncio.run(
            scores(ledger, [_last_only(one) for one in alone], ("ifd",), student=student, preset_name="chat")
        )
        assert [one["ifd"].value for one in by_last] == [one["ifd"].value for one in by_turn]


FRAME = PresetSpans(preset("chat"), Chat(), None)


def fed(encoder: Encoder, spans: list[Span]) -> int:
    """The number of tokens that packed rows feed to the model for these spans."""
    encoded = [one for one in encoder.encode(spans) if isinstance(one, EncodedSpan)]
    assert len(encoded) == len(spans)
    return sum(batch.tokens for batch in plan(encoded, lambda: 10**6, packed=True))


@pytest.mark.parametrize("way", ["all", "unroll"])
def test_all_turns_of_a_conversation_cost_one_pass_over_it(way):
    """The conditional passes share their beginnings: at most a tenth more tokens than the conversation has."""
    tokenizer = tiny_models.tokenizer(chat=chat_templates.PLAIN)
    encoder = Encoder.of(tokenizer, 4096)
    for pair in conversations():
        trained = trained_by(pair, "all")
        samples = [trained] if way == "all" else [_last_only(turn) for turn in turns(trained)]
        spans = [span for sample in samples for span in FRAME.response_given_instruction(sample)]
        whole = len(encoder.encode([Span((*pair.before, pair.last), "a", "ids")])[0].ids)
        assert fed(encoder, spans) <= 1.1 * whole
        assert all(first.context != second.context for first, second in pairwise(spans))
