"""A student that counts what it is fed and a judge that says what it is told to, for ``rt -p metrics_parts``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rt_framework import Loss, Reply, Request, SpanLoss, hookimpl
from rt_framework.spans import total
from rt_framework.testing import FakeStudent, ScriptedTeacher

ROWS = [
    {"instruction": f"Name {n} things that float.", "input": "", "output": f"A cork, a leaf, the boat {n} and a raft."}
    for n in range(1, 10)
]
EMPTY = {"instruction": "Say nothing.", "input": "", "output": ""}

FED: list[int] = []
"""Sequences of each forward pass since it was last cleared."""

ANSWERS: list[Callable[[Request], str | Reply]] = []
"""What the judge answers: the last one counts."""

ASKED: list[Request] = []
"""What the judge was asked since it was last cleared."""


class Counting(FakeStudent):
    """A fake student whose forward passes are counted."""

    def score(self, batch):
        FED.append(len(batch))
        return super().score(batch)


def _answer(request):
    ASKED.append(request)
    return ANSWERS[-1](request)


def structured():
    return ScriptedTeacher(_answer, structured=True)


def plain():
    return ScriptedTeacher(_answer, structured=False)


@hookimpl
def rt_register_students(register):
    register("counting", "metrics_parts:Counting")


@hookimpl
def rt_register_teachers(register):
    register("judge", "metrics_parts:structured")
    register("plain-judge", "metrics_parts:plain")


def by_turn(*turns) -> Loss:
    """A loss by token; each turn is its tokens' losses, or pairs of loss and rank."""
    return total([_part([one if isinstance(one, tuple) else (one, 1) for one in turn]) for turn in turns])


def _part(tokens) -> SpanLoss:
    nll, ranks = zip(*tokens, strict=True)
    return SpanLoss(sum(nll), len(nll), token_nll=nll, token_ranks=ranks)


def lines(path) -> list[dict]:
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
