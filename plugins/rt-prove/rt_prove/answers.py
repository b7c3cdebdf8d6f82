"""Answers of a trained model to held-out prompts, in the way of ``rt answer``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve

from rt_framework import Pair
from rt_framework.cli.options import Data, Host, Limits, Output, ScoringConfig, rows_source
from rt_framework.errors import ModelError
from rt_framework.jobs.rewriting import answering
from rt_framework.jobs.running import run
from rt_framework.kit.parts import Spec
from rt_framework.results import SampleHistory, open_run

Answers = list[str | None]
"""An answer to each prompt, in order; ``None`` where the model cannot be asked."""

_UNASKABLE = ("too_long", "bad_request")
"""Kinds of failure that lie in the prompt: it fills the context window, or has a token that the model lacks."""


def held_out_answers(
    host: Host, student: Spec, prompts: Mapping[str, Sequence[Pair]], max_tokens: int, folder: Path
) -> dict[str, Answers]:
    """Return the answers to prompts of held-out sets, by set; all are answered in one pass.

    Args:
        host: finds the student.
        student: the student.
        prompts: the prompts, by set.
        max_tokens: longest answer in tokens.
        folder: directory for the answers while they are made.

    Raises:
        RtError: as :func:`answers`.
    """
    found = iter(answers(host, student, [pair for pairs in prompts.values() for pair in pairs], max_tokens, folder))
    return {name: [next(found) for _ in pairs] for name, pairs in prompts.items()}


def answers(host: Host, student: Spec, pairs: Sequence[Pair], max_tokens: int, folder: Path) -> Answers:
    """Return the student's answer to each prompt at temperature 0, cut off at *max_tokens*.

    Raises:
        ModelError: the student failed.
        RtError: the student cannot be loaded.
    """
    source = rows_source(pairs)
    settings = {"max_tokens": max_tokens, "keep_cut": True}
    job = answering(Data(source.name), settings, student, ScoringConfig(), Limits(answers=1))
    asyncio.run(run(host, evolve(job, output=Output(format="jsonl", shape="messages")), folder, source=source))
    with open_run(folder, host, source) as finished:
        histories = list(finished)
    return [_answer(history) for history in histories]


def _answer(history: SampleHistory) -> str | None:
    """Return the answer of one sample; an empty one is an answer too, which a judge can compare.

    Raises:
        ModelError: the student failed, and not because of the prompt.
    """
    if history.is_kept:
        return history.sample.current.pair.response
    failure = history.sample.failures[0]
    if failure.kind == "empty":
        return ""
    if failure.kind in _UNASKABLE:
        return None
    raise ModelError(f"the trained model cannot answer: {failure.kind}: {failure.reason}")
