"""Five finished runs that a person must be able to tell apart at the first look, made with fakes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from rt_framework.model import Reply, Request
from rt_framework.spans import SpanLoss
from rt_framework.testing import FakeStudent
from tests.rewriting_teacher import RewritingTeacher
from tests.run_helpers import SELECTIVE, go, job

MEASURED = [*SELECTIVE, {"measure": ["ifd", "r-ifd"]}]
CANNED = (
    "Please remember that this is general information only, and that you should always ask a qualified expert before "
    "you act on it."
)
_SUBJECTS = ("tea", "iron", "bridges", "rain", "maps", "bees", "clocks", "salt", "glass", "moss", "kites", "tides")
_ANGLES = (
    "where it comes from and who first wrote of it",
    "what it costs and why that has changed",
    "how people use it in a small town",
    "what can go wrong, and what then helps",
    "which mistakes beginners make with it",
)
_OPENINGS = (
    *("A short walk through the matter helps.", "It began long before anybody wrote of it.", "Prices moved twice."),
    *("Two people rarely agree on this.", "Most of it can be tried at home.", "There are three things to know."),
    *("Nobody planned it.", "Old letters tell the most."),
)


def rows(count: int = 60) -> list[dict[str, str]]:
    """Rows about different things, with answers of very different length."""
    return [_row(number) for number in range(count)]


def _row(number: int) -> dict[str, str]:
    subject, angle = _SUBJECTS[number % len(_SUBJECTS)], _ANGLES[number // len(_SUBJECTS) % len(_ANGLES)]
    sentences = [f"{_OPENINGS[(number * 3 + at) % len(_OPENINGS)]}" for at in range(2 + number * 7 % 6)]
    answer = " ".join((*sentences, f"Of {subject} one says {angle.split()[-1]} number {number}."))
    return {"instruction": f"Write about {subject}: {angle}.", "input": "", "output": answer}


class Even(FakeStudent):
    """A student for which every token costs the same, so that no rewrite wins."""

    def score(self, batch: Sequence[Any]) -> list[SpanLoss]:
        """One nat a token."""
        return [evolve(loss, nll=float(loss.tokens)) for loss in super().score(batch)]


class Lengthy(FakeStudent):
    """A student for which a token costs less, the longer the target is, and a little more after an instruction."""

    def score(self, batch: Sequence[Any]) -> list[SpanLoss]:
        """40 nats a target; after an instruction a little more, which grows with the length."""
        losses = super().score(batch)
        known = [len(span.ids) - len(span.positions) > 1 for span in batch]
        return [
            evolve(loss, nll=40 + 0.0004 * after * loss.tokens**2) for loss, after in zip(losses, known, strict=True)
        ]


class Changing(RewritingTeacher):
    """The rewriting teacher, with responses that *change* makes of its own; it always answers."""

    def __init__(self, change: Callable[[str, int], str]) -> None:
        self._change = change

    async def complete(self, request: Request) -> Reply:
        """The rewriting teacher's answer, changed."""
        luck = int(request.pair_hash[:8], 16)
        usable = evolve(request, pair_hash=f"{luck // 120 * 120 + luck % 3:08x}{request.pair_hash[8:]}", index=0)
        reply = await super().complete(usable)
        parts = json.loads(reply.text)
        if "response" in parts:
            parts["response"] = self._change(parts["response"], luck)
        return evolve(reply, text=json.dumps(parts))


def _shorter_or_longer(response: str, luck: int) -> str:
    words = response.split()
    return response if luck % 2 else " ".join(words[: len(words) // 4])


def _half_canned(response: str, luck: int) -> str:
    return f"{response}\n\n{CANNED}" if luck % 2 else response


_RESPONSES = [{"reflect": "response"}, {"choose": {"lowest": "loss"}}, {"measure": ["ifd", "r-ifd"]}]
_HALF = [*MEASURED, {"gate": {"ifd": {"below": 0.9}}}]

FIVE: Mapping[str, tuple[list[Any], Callable[[], Any], Callable[[], Any]]] = {
    "good": (MEASURED, lambda: Changing(lambda response, _: response), FakeStudent),
    "nothing-gained": (MEASURED, RewritingTeacher, Even),
    "length-only": (_RESPONSES, lambda: Changing(_shorter_or_longer), Lengthy),
    "canned-teacher": (MEASURED, lambda: Changing(_half_canned), FakeStudent),
    "half-dropped": (_HALF, lambda: Changing(lambda response, _: response), FakeStudent),
}
"""Pipeline, teacher and student of each run, by its name."""


def finished(folder: Path, name: str) -> Path:
    """Return the directory of one of the five runs, finished."""
    pipeline, teacher, student = FIVE[name]
    folder.mkdir(parents=True, exist_ok=True)
    go(job(folder, rows(), pipeline, scoring={"preset": "chat"}), folder / name, teacher(), student())
    return folder / name
