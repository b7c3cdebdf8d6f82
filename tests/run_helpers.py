"""Whole runs in the process of a test, and what they leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from rt_framework.concurrency import StopSignal
from rt_framework.config.schema import Config, Limits
from rt_framework.data.files import LocalFiles
from rt_framework.data.reading import FileReader
from rt_framework.data.rows import read_records, shape_of
from rt_framework.data.unread import readable, settled
from rt_framework.events import Summary
from rt_framework.jobs.running import RunMode, run
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Pair, Record, Reply, Request, Sample, Sampling, Usage, Version, digest
from rt_framework.plugin import structure
from rt_framework.plugin.host import Host, Reporters
from rt_framework.spans import SpanLoss
from rt_framework.teacher import Answers, Sending, budget_of
from rt_framework.testing import FakeStudent, ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from tests import fakes_plugin

ASK, TELL = 3, 7
"""What a token of a question and of an answer costs at the priced teacher, in nano-dollars."""

SELECTIVE = [
    {"reflect": "instruction"},
    {"choose": {"highest": "ifd"}},
    {"reflect": "response"},
    {"choose": {"lowest": "r-ifd"}},
]
GATES = [{"gate": {"ifd": {"below": 1}, "r-ifd": {"below": 1}}}]


def pair(number: int = 0, **parts: Any) -> Pair:
    """A pair that differs from those of other numbers."""
    texts = {"instruction": f"Name {number} things that float.", "response": f"A cork, a leaf and boat {number}."}
    return Pair(**(texts | parts))


def row(number: int, **parts: str) -> dict[str, str]:
    """A row in the shape of Alpaca."""
    more = "In one line." if number % 3 == 0 else ""
    made = {"instruction": pair(number).instruction, "input": more, "output": pair(number).response}
    return made | {"topic": f"t{number}"} | parts


def rows(count: int) -> list[dict[str, str]]:
    """Rows that differ."""
    return [row(number) for number in range(count)]


def pair_of(row: Mapping[str, str]) -> Pair:
    """The pair of an Alpaca row."""
    return Pair(row["instruction"], row["input"], row["output"])


def write_json(path: Path, value: object) -> Path:
    """Write *value* and return *path*."""
    path.write_text(json.dumps(value), "utf-8")
    return path


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def sample(number: int = 0, **parts: Any) -> Sample:
    """A sample with its original only."""
    return Sample(f"sample-{number}", number, (Version("original", pair(number, **parts)),))


def answers_of(teacher: Any, ledger: Any, limits: Limits) -> Answers:
    """The answers of a teacher in a run that nobody watches."""
    budget = budget_of(teacher, ledger, limits.budget_usd)
    sending = Sending(teacher, ledger, limits, budget, nobody(), StopSignal())
    return Answers(teacher, ledger, sending, holds=limits.on_ambiguous == "hold")


def nobody() -> Reporters:
    """Reporters of a run that nobody watches."""
    return Reporters([])


def as_it_is(student: Any) -> Any:
    """Return *student*; ``partial(as_it_is, student)`` is a factory that can be sent to another process."""
    return student


class Wrong(FakeStudent):
    """A student that gives chosen answers: *change* makes a loss of a span's target ids into another."""

    fingerprint = "wrong-student"

    def __init__(self, change: Callable[[SpanLoss], SpanLoss]) -> None:
        super().__init__()
        self._change = change

    def score(self, batch: Sequence[Any]) -> list[SpanLoss]:
        """The changed losses."""
        return [self._change(loss) for loss in super().score(batch)]


def records_in(path: Path, form: Any, shape: str | None = None, limit: int | None = None) -> Iterator[Record]:
    """The records of a file, as a source reads them."""
    reader = FileReader(LocalFiles(path), form)
    shape = shape or shape_of(path, reader.first_row())
    rows = read_records(reader.rows(), shape, limit=limit, place=lambda number: f"row {number} (from 0)")
    return readable(settled(reader.name, rows, drop=False))


def job(tmp_path: Path, data: object, pipeline: object, **more: Any) -> Config:
    """A config over *data*, written as JSON, with the held teacher and student. Keys of *more* beat the rest."""
    path = write_json(tmp_path / "data.json", data)
    raw = {
        "data": {"path": str(path)},
        "teacher": "held:teacher",
        "student": "held:student",
        "scoring": {"preset": "selective-rt"},
        "pipeline": pipeline,
    }
    return structure(raw | more, Config)


def go(
    config: Config,
    run_dir: Path,
    teacher: Any = None,
    student: Any = None,
    watchers: Iterable[object] = (),
    pilot: int | None = None,
    mode: RunMode | None = None,
) -> Summary:
    """Run the job with these objects as teacher and student."""
    fakes_plugin.HELD["teacher"] = ScriptedTeacher(rewriting) if teacher is None else teacher
    fakes_plugin.HELD["student"] = FakeStudent() if student is None else student
    host = Host(modules=["tests.fakes_plugin"], only=[], strict=True)
    return asyncio.run(run(host, config, run_dir, watchers, evolve(mode or RunMode(), pilot=pilot)))


def side(run_dir: Path) -> list[dict[str, Any]]:
    """The side file."""
    return json_lines(run_dir / "scores.jsonl")


def attempts(run_dir: Path) -> dict[tuple[str, str], int]:
    """Return the number of attempts by state and kind."""
    with Ledger.reading(run_dir / "ledger.sqlite") as ledger:
        return ledger.attempts.counts()


def outputs(run_dir: Path) -> dict[str, bytes]:
    """Return the bytes of the kept samples, the dropped samples and the side file, by the name of the file."""
    return {name: (run_dir / name).read_bytes() for name in ("kept.json", "dropped.json", "scores.jsonl")}


def request(number: int = 0, index: int = 0, **more: Any) -> Request:
    """A request about one pair."""
    return Request("response", pair(number).hash, index, (), Sampling(), **more)


class Rewriting:
    """A reflection that takes any answer as the new response, and refuses one that begins with ``bad``."""

    rewrites = ("response",)

    def render(self, pair: Pair, index: int, structured: bool) -> Request:
        """A later request has another temperature."""
        return Request("response", pair.hash, index, (), Sampling(temperature=0.5 * index))

    def parse(self, pair: Pair, request: Request, reply: Reply) -> Any:
        """The new pair."""
        from rt_framework import Unparsed

        if reply.text.startswith("bad"):
            return Unparsed(reply.text.removeprefix("bad ") or "format", "unusable")
        return evolve(pair, response=reply.text)


def http_answer(body: Mapping[str, Any]) -> str:
    """Return the answer of ``rewriting`` to a request as it arrives over HTTP."""
    asked = body["response_format"]["json_schema"]
    return rewriting(Request(asked["name"], digest(body["messages"]), 0, (), Sampling(), asked["schema"]))


class Priced(ScriptedTeacher):
    """A teacher with a price, whose tokens have four bytes; it remembers what was paid for."""

    def __init__(self, answer: Callable[[Request], str] = rewriting) -> None:
        super().__init__(self._counted)
        self._text = answer

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Nano-dollars."""
        return ASK * prompt_tokens + TELL * completion_tokens

    def _counted(self, request: Request) -> Reply:
        text = self._text(request)
        asked = sum(-(-len(turn.content.encode()) // 4) for turn in request.messages)
        told = min(-(-len(text.encode()) // 4), request.sampling.max_tokens)
        return Reply(text, usage=Usage(asked, told), nano_dollars=self.cost(asked, told))

    @property
    def paid(self) -> int:
        """Cost of the answers given so far, in nano-dollars."""
        return sum(self._counted(request).nano_dollars for request in self.requests)
