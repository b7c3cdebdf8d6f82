"""The comparisons of the study: two versions of a sample, of which people or GPT-4 prefer one.

The data may not be redistributed. Their sources: the revisions of CoachLM (github.com/lunyiliu/CoachLM), AlpacaEval
(huggingface.co/datasets/tatsu-lab/alpaca_eval) and Alpaca (github.com/tatsu-lab/stanford_alpaca).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

from attrs import frozen

from rt_framework import Pair

T = TypeVar("T")


@frozen
class Comparison:
    """Two versions of one sample."""

    worse: Pair
    better: Pair

    @property
    def same_question(self) -> bool:
        """True if only the responses differ."""
        return (self.worse.instruction, self.worse.input) == (self.better.instruction, self.better.input)


def experts(folder: Path) -> Iterator[Comparison]:
    """Yield the revisions by human experts; one that changes nothing is left out."""
    for row in json.loads((folder / "rewrites" / "expert_revisions.json").read_text("utf-8")):
        raw, revised = (
            Pair(side["instruction"], side["input"], side["output"]) for side in (row["raw"], row["revised"])
        )
        if raw != revised:
            yield Comparison(raw, revised)


def gpt4(folder: Path) -> Iterator[Comparison]:
    """Yield the answers of two models to one prompt, of which GPT-4 prefers one; a tie is left out."""
    for row in json.loads((folder / "eval" / "alpaca_eval_805.json").read_text("utf-8")):
        names, preferred = ("alpaca-7b", "text_davinci_003"), row["gpt4_prefers"]
        if preferred in names:
            answers = {name: Pair(row["instruction"], "", row["outputs"][name]) for name in names}
            other = names[0] if preferred == names[1] else names[1]
            yield Comparison(answers[other], answers[preferred])


def drawn(pairs: Sequence[T], count: int, key: str) -> list[T]:
    """Return *count* of the given things, drawn by a hash of the key and their places."""
    order = sorted(range(len(pairs)), key=lambda place: blake2b(f"{key} {place}".encode(), digest_size=8).digest())
    return [pairs[place] for place in sorted(order[:count])]


SETS = {"experts": experts, "gpt4": gpt4}
"""The sets of comparisons, by name."""
