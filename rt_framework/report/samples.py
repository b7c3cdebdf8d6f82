"""The second reading of a run: the texts of all samples, in compressed blocks that a browser unpacks one at a time."""

from __future__ import annotations

import gzip
import io
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from attrs import frozen

from rt_framework.kit.fences import turn_text
from rt_framework.kit.remarks import remarks
from rt_framework.model import Score, Turn, Version
from rt_framework.report.texts import clipped, fit
from rt_framework.results import FinishedRun, SampleHistory
from rt_framework.rundir import label_of

BLOCK = 250
"""Number of samples in one block."""

_PROBE = 4
"""Number of blocks, or a few more, spread over the run, from which the size of all is estimated."""

_CLIPS = (None, 4000, 2000, 1000, 500, 250, 120)
"""Most characters of a text that are shown; tried in this order until everything fits."""


@frozen
class Compressed:
    """The texts of the samples, ready for the page."""

    blocks: Iterable[str]
    """Blocks of samples, each as base64 of gzip of a JSON list; they are made as they are taken, once."""
    clip: int | None
    """Number of characters after which a text is cut; ``None`` if no text is."""


def compress_texts(run: FinishedRun, total: int, most: float) -> Compressed:
    """Compress the texts of all samples into about *most* bytes; if they do not fit, cut the long ones."""
    clip = _fitting(run, total, most)
    lines = (entry(run, history, clip) for history in run)
    return Compressed((compressed(block) for block in _batched(lines, BLOCK)), clip)


def compressed(value: Any) -> str:
    """Return *value* as base64 of gzip of JSON, the same each time."""
    return _packed([_json(value)])


def compressed_object(entries: Iterable[tuple[str, Any]]) -> str:
    """Return an object as :func:`compressed` does; one entry at a time is in memory."""
    parts = (f"{',' if number else ''}{_json(name)}:{_json(value)}" for number, (name, value) in enumerate(entries))
    return _packed(chain("{", parts, "}"))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _packed(parts: Iterable[str]) -> str:
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as file:
        for part in parts:
            file.write(part.encode("utf-8"))
    return b64encode(packed.getvalue()).decode()


def entry(run: FinishedRun, history: SampleHistory, clip: int | None) -> dict[str, Any]:
    """Return everything that the page shows of a sample, as plain values."""
    sample = history.sample
    return {
        "id": sample.id,
        "row": sample.row,
        "outcome": history.outcome,
        "kept": sample.kept,
        "reason": fit(history.reason or ""),
        "versions": [_version(run, version, clip) for version in sample.versions],
        "scores": {
            fit(version): {fit(metric): _score(score) for metric, score in scores.items()}
            for version, scores in sample.scores.items()
        },
        "decisions": [
            [fit(label_of(run.stages, d.stage)), [*d.candidates], d.kept, fit(d.reason)] for d in sample.decisions
        ],
        "failures": [[fit(label_of(run.stages, f.stage)), f.kind, clipped(f.reason, clip)] for f in sample.failures],
        "handovers": [
            [fit(version), fit(one.fallback), fit(one.teacher), one.kind, clipped(one.reason, clip)]
            for version, handovers in history.handovers.items()
            for one in handovers
        ],
    }


def _version(run: FinishedRun, version: Version, clip: int | None) -> dict[str, Any]:
    pair = version.pair
    reply = run.reply(version)
    said = remarks(reply.text, pair) if reply and reply.text else []
    return {
        "name": version.name,
        "parent": version.parent or "",
        "system": clipped(pair.system or "", clip),
        "tools": [clipped(tool, clip) for tool in pair.tools],
        "earlier": [_turn(turn, clip) for turn in pair.history],
        "instruction": clipped(pair.instruction, clip),
        "input": clipped(pair.input, clip),
        "since": [_turn(turn, clip) for turn in pair.since],
        "reasoning": clipped(pair.reasoning or "", clip),
        "response": clipped(turn_text(pair.last), clip),
        "after": [_turn(turn, clip) for turn in pair.after],
        "said": [[fit(name), clipped(text, clip)] for name, text in said],
    }


def _turn(turn: Turn, clip: int | None) -> list[str]:
    return [f"{turn.role}{', trained' if turn.trained else ''}", clipped(turn_text(turn), clip)]


def _score(score: Score) -> Any:
    return score.value if score.value is not None else f"{score.status}: {fit(score.reason or '')}"


def _fitting(run: FinishedRun, total: int, most: float) -> int | None:
    """Return the mildest cut with which the blocks fit into *most* bytes, estimated from a few of them."""
    blocks = enumerate(_batched((sample_id for sample_id, *_ in run.outcomes()), BLOCK))
    every = max(1, -(-total // BLOCK) // _PROBE)
    probe = [list(map(run.sample, block)) for number, block in blocks if number % every == 0]
    share = sum(map(len, probe)) / total
    for clip in _CLIPS:
        size = sum(len(compressed([entry(run, history, clip) for history in block])) for block in probe)
        if size <= most * share:
            return clip
    return _CLIPS[-1]


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block
