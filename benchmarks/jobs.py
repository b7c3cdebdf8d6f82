"""The two jobs that are timed, each as the published procedure does it and as a user of rt does it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from benchmarks.published import mean_loss
from rt_framework import hookimpl
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.config import Builder, Config, Data, Pipeline, ScoringConfig
from rt_framework.data import open_source
from rt_framework.events import Summary
from rt_framework.jobs.running import run
from rt_framework.jobs.scoring import Scorers, score_file
from rt_framework.kit.parts import Spec
from rt_framework.model import Pair, Request
from rt_framework.plugin import Host
from rt_framework.scoring import ForwardBatch, PresetSpans, preset
from rt_framework.spans import EncodedSpan, Span, SpanLoss
from rt_framework.testing import ScriptedTeacher

PRESET = "selective-rt"
TEMPLATE = "alpaca"
IFD_LOSSES = ("y|x", "y")

Row = dict[str, str]

HELD: dict[str, Any] = {}
"""The loaded student and the teacher, which the plugin below hands out: loading is not timed."""


def held_student() -> Any:
    """The loaded student."""
    return HELD["student"]


def held_teacher() -> Any:
    """The teacher."""
    return HELD["teacher"]


@hookimpl
def rt_register_students(register: Callable[..., None]) -> None:
    """Offer the loaded student."""
    register("held", "benchmarks.jobs:held_student", help="the benchmark's")


@hookimpl
def rt_register_teachers(register: Callable[..., None]) -> None:
    """Offer the teacher."""
    register("held", "benchmarks.jobs:held_teacher", help="the benchmark's")


class Counted:
    """A student that counts what its batches feed."""

    def __init__(self, student: HFStudent) -> None:
        self._student = student
        self.fingerprint = student.fingerprint
        self.batch_tokens = student.batch_tokens
        self.packs = student.packs
        self.path = student.path
        self.batches: list[ForwardBatch] = []

    def encode(self, spans: Sequence[Span]) -> list[EncodedSpan | SpanLoss]:
        """As the student."""
        return self._student.encode(spans)

    def score(self, batch: Sequence[EncodedSpan]) -> list[SpanLoss]:
        """As the student."""
        self.batches.append(ForwardBatch(tuple(batch), (), self.packs))
        return self._student.score(batch)


@frozen
class Published:
    """The published procedure on a list of spans."""

    model: Any
    tokenizer: Any
    spans: tuple[Span, ...]

    def __call__(self) -> list[float]:
        """Mean losses, one after the other."""
        return [self._loss(span) for span in self.spans]

    @property
    def tokens(self) -> int:
        """Tokens that it feeds."""
        return sum(len(one.ids) for one in HELD["student"].encode(self.spans) if isinstance(one, EncodedSpan))

    def _loss(self, span: Span) -> float:
        assert isinstance(span.context, str)
        assert span.paired_context is None or isinstance(span.paired_context, str)
        limit = span.max_tokens or self.tokenizer.model_max_length
        return mean_loss(self.model, self.tokenizer, span.context, str(span.target), limit, span.paired_context)


def pair_of(row: Row) -> Pair:
    """The pair of an Alpaca row."""
    return Pair(row["instruction"], row["input"], row["output"])


def ifd_spans(pairs: Sequence[Pair]) -> tuple[Span, ...]:
    """Both spans of IFD for each pair, as the preset frames them."""
    frame = _frame()
    ways = (frame.response_given_instruction, frame.response_alone)
    return tuple(span for pair in pairs for way in ways for span in way(pair))


def all_spans(pairs: Sequence[Pair]) -> tuple[Span, ...]:
    """Return the spans of IFD and of r-IFD."""
    frame = _frame()
    ways = (frame.instruction_given_response, frame.instruction_alone)
    return ifd_spans(pairs) + tuple(span for pair in pairs for way in ways for span in way(pair))


def _frame() -> PresetSpans:
    chosen = preset(PRESET)
    return PresetSpans(chosen, Builder(Host(only=[]))("templates", TEMPLATE), chosen.limit(TEMPLATE))


# --- one version of each sample ---------------------------------------------------------------


def score_rows(rows: Sequence[Row], folder: Path) -> list[dict[str, Any]]:
    """`rt score` on the rows, ledger and all; its lines."""
    data = _written(rows, folder)
    host = _host()
    scoring = ScoringConfig(preset=PRESET, template=Spec(TEMPLATE))
    out = folder / "scores.jsonl"
    asyncio.run(score_file(host, open_source(host, data, None), Scorers(("ifd",), Spec("held"), scoring), out))
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


# --- the whole job, four versions of each sample ----------------------------------------------


@frozen
class Quad:
    """A sample and its three rewrites, made of four real rows."""

    original: Pair
    instruction: Pair
    """New instruction and answer."""
    responses: dict[str, str]
    """Hash of a version to the better answer for it."""

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Quad:
        """From four rows: a sample, its new pair, and a new answer for either."""
        original, other = pair_of(rows[0]), pair_of(rows[1])
        rewritten = Pair("\n\n".join(filter(None, (other.instruction, other.input))), "", other.response)
        answers = {original.hash: rows[2]["output"], rewritten.hash: rows[3]["output"]}
        return cls(original, rewritten, answers)

    @property
    def versions(self) -> tuple[Pair, ...]:
        """All four, as the published script scores them."""
        first = (self.original, self.instruction)
        return (*first, *(evolve(pair, response=self.responses[pair.hash]) for pair in first))


def quads(rows: Sequence[Row]) -> list[Quad]:
    """Samples of four rows each."""
    return [Quad.of(rows[at : at + 4]) for at in range(0, len(rows) - 3, 4)]


def run_pipeline(samples: Sequence[Quad], folder: Path) -> Summary:
    """`rt run` with the pipeline of Selective Reflection-Tuning; the teacher's answers are at hand."""
    rows = [
        {"instruction": q.original.instruction, "input": q.original.input, "output": q.original.response}
        for q in samples
    ]
    data = _written(rows, folder)
    rewrites = {q.original.hash: q.instruction for q in samples}
    answers = {key: text for q in samples for key, text in q.responses.items()}

    def answer(request: Request) -> str:
        if request.reflection == "response":
            return json.dumps({"critique": "-", "response": answers[request.pair_hash]})
        pair = rewrites[request.pair_hash]
        return json.dumps({"critique": "-", "instruction": pair.instruction, "response": pair.response})

    HELD["teacher"] = ScriptedTeacher(answer)
    config = Config(
        data=data,
        pipeline=Pipeline(use="selective-rt"),
        teacher=Spec("held"),
        student=Spec("held"),
        scoring=ScoringConfig(preset=PRESET, template=Spec(TEMPLATE)),
    )
    return asyncio.run(run(_host(), config, folder / "run"))


def _host() -> Host:
    return Host(modules=["benchmarks.jobs"], only=[], strict=True)


def _written(rows: Sequence[Row], folder: Path) -> Data:
    folder.mkdir()
    path = folder / "rows.json"
    path.write_text(json.dumps(rows), "utf-8")
    return Data(str(path))
