"""What a run will ask and cost, before anything is sent: every prompt is rendered, none leaves this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from rt_framework.assembly import open_job, reflection_facts
from rt_framework.budget import check_priced, is_priced
from rt_framework.calls import call_key
from rt_framework.config import Config, Limits
from rt_framework.errors import KINDS, Retry, RtError
from rt_framework.host import Host
from rt_framework.ledger import Ledger
from rt_framework.model import Pair, Reply, Request, Sample, Unparsed, digest
from rt_framework.pipeline import Step
from rt_framework.protocols import PricedTeacher, Question, Teacher
from rt_framework.records import Numbers
from rt_framework.rundir import LEDGER, check_frozen, check_run, look

_BYTES_A_TOKEN = 4
"""Usual for English text, by OpenAI's rule of thumb; other scripts make more tokens of as many bytes."""

_SHOWN = 3
"""Prompts that a quote shows."""


@frozen
class Bounds:
    """What is likely if all goes well, and the most that answers which arrive can make of it."""

    low: int
    high: int


@frozen
class Quote:
    """The calls of a run, and what is still to be paid for them."""

    samples: int
    calls: int
    """Questions of a run without further failures."""
    unique: int
    """Those of the calls that are left when equal ones are asked once."""
    answered: int
    """Those of the unique calls that the run directory has the answer of."""
    guessed: int
    """Those of the unique calls that are about texts which are not written yet."""
    broken: int
    """Samples that a reflection raises on."""
    sends: Bounds
    """Calls without an answer: asked once each, and as often as ``limits.answers`` allows."""
    prompt_tokens: Bounds
    answer_tokens: Bounds
    cost: Bounds | None
    """Nano-dollars still to be paid; ``None`` when the price is not known."""
    spent: int
    """Nano-dollars that the run directory has cost so far."""
    prompts: tuple[tuple[int, Request], ...]
    """Row and request of the first questions."""


@frozen
class _Text:
    """A version of a sample, as far as it is known."""

    pair: Pair
    """Its own; that of the version it will be made from, where it is not written yet."""
    written: bool = True
    grown: int = 0
    """Most tokens that it can have more than *pair*."""
    asked: frozenset[str] = frozenset()
    """Reflections that it had."""


def quote(host: Host, config: Config, run_dir: Path) -> Quote:
    """Count what *config* would ask and cost in *run_dir*. Reads only, and loads no student.

    Raises:
        RtError: what keeps a run from starting, as far as it shows without a student.
    """
    job = open_job(host, config)
    if config.teacher is None:
        nothing = Bounds(0, 0)
        return Quote(job.source.count(), 0, 0, 0, 0, 0, nothing, nothing, nothing, nothing, 0, ())
    teacher: Teacher = job.make.spec("teachers", config.teacher)
    check_priced(teacher, teacher.identity, config.limits.budget_usd)
    with _looking(run_dir) as ledger:
        if ledger is not None:
            facts = {"data": job.source.facts(), "teacher": teacher.identity, **reflection_facts(job.steps)}
            check_frozen(ledger, run_dir, facts)
        counting = _Counting(teacher, job.steps, config.limits, config.pipeline.exhaustive, ledger)
        for sample in job.source.samples():
            counting.add(sample)
        return counting.quote()


@contextmanager
def _looking(run_dir: Path) -> Iterator[Ledger | None]:
    """The ledger of a run directory, for reading, if there is one."""
    if not (run_dir / LEDGER).is_file():
        check_run(run_dir)
        yield None
        return
    ledger = look(run_dir)
    try:
        yield ledger
    finally:
        ledger.close()


class _Counting:
    """Goes the way of every sample through the reflections, as far as it can be known, and adds up.

    Rewrites that are in the ledger are read from it. Others are taken for texts as long as what they replace.
    """

    def __init__(
        self, teacher: Teacher, steps: Sequence[Step], limits: Limits, exhaustive: bool, ledger: Ledger | None
    ) -> None:
        self._teacher = teacher
        self._structured = teacher.structured
        self._reflections = [pair for step in steps for pair in step.stage.reflections.items()]
        self._answers = limits.answers
        self._exhaustive = exhaustive
        self._ledger = ledger
        self._seen = Numbers()
        self._cost = lru_cache(maxsize=1 << 16)(_pricing(teacher))
        self._counts: Counter[str] = Counter()
        self._low: Counter[str] = Counter()
        self._high: Counter[str] = Counter()
        self._prompts: list[tuple[int, Request]] = []

    def quote(self) -> Quote:
        """What was counted."""
        names = ("sends", "prompt_tokens", "answer_tokens", "cost")
        sends, prompts, answers, cost = (Bounds(self._low[name], self._high[name]) for name in names)
        counted = ("samples", "calls", "unique", "answered", "guessed", "broken")
        return Quote(
            **{name: self._counts[name] for name in counted},
            sends=sends,
            prompt_tokens=prompts,
            answer_tokens=answers,
            cost=cost if is_priced(self._teacher) else None,
            spent=0 if self._ledger is None else self._ledger.spent(),
            prompts=tuple(self._prompts),
        )

    def add(self, sample: Sample) -> None:
        """Count one more sample."""
        self._counts["samples"] += 1
        texts = [_Text(sample.original.pair)]
        try:
            for number, (name, question) in enumerate(self._reflections):
                if number == 0 and len(self._prompts) < _SHOWN:
                    self._prompts.append((sample.row, question.render(texts[0].pair, 0, self._structured)))
                for at in self._reflected(texts, name, question):
                    new = self._rewrite(number, question, texts[at])
                    texts[at] = evolve(texts[at], asked=texts[at].asked | {name})
                    texts += [new] if new else []
        except RtError:
            raise
        except Exception:  # a run fails this sample and goes on
            self._counts["broken"] += 1

    def _reflected(self, texts: Sequence[_Text], name: str, question: Question[Any]) -> list[int]:
        """Which of a sample's versions a stage asks about.

        Which one the student holds is not known here: it is the one that was asked about before, or else the newest.
        """
        places = [at for at, text in enumerate(texts) if name not in text.asked]
        if self._exhaustive or len(places) < 2:
            return places
        if all(texts[at].written for at in places):
            asked = {at: question.render(texts[at].pair, 0, self._structured) for at in places}
            known = [at for at in places if self._reply(self._key(asked[at])) is not None]
            return (known or places)[-1:]
        return places[-1:]

    def _rewrite(self, number: int, question: Question[Any], text: _Text) -> _Text | None:
        """Count the question about a version, and those that follow unusable answers; gives the rewrite."""
        for index in range(self._answers):
            request = question.render(text.pair, index, self._structured)
            key = self._key(request) if text.written else digest([number, request.reflection, request.pair_hash])
            reply = self._reply(key)
            fresh = self._seen.add(int(key[:16], 16))
            self._counts.update(
                calls=1, unique=fresh, answered=fresh and reply is not None, guessed=fresh and not text.written
            )
            if reply is None:
                if fresh:
                    self._send(question, text, request, self._answers - index)
                new = _Text(text.pair, False, text.grown + request.sampling.max_tokens)
                return new if question.rewrites else None
            read = question.parse(text.pair, request, reply)
            if not isinstance(read, Unparsed):
                return _Text(read) if isinstance(read, Pair) else None
            if KINDS[read.kind].retry is not Retry.CHANGE:
                break
        return None

    def _key(self, request: Request) -> str:
        return call_key(self._teacher.identity, request)

    def _reply(self, key: str) -> Reply | None:
        return None if self._ledger is None else self._ledger.reply(key)

    def _send(self, question: Question[Any], text: _Text, request: Request, answers: int) -> None:
        """Add up one call that is to be paid for."""
        longest, bound = request.sampling.max_tokens, request.most_prompt_tokens + text.grown
        asked = sum(_tokens(turn.content) for turn in request.messages)
        told = min(_told(question, text.pair), longest)
        self._low.update(sends=1, prompt_tokens=asked, answer_tokens=told, cost=self._cost(asked, told))
        high = {"sends": 1, "prompt_tokens": bound, "answer_tokens": longest, "cost": self._cost(bound, longest)}
        self._high.update({name: answers * count for name, count in high.items()})


def _pricing(teacher: object) -> Callable[[int, int], int]:
    """What so many tokens cost, in nano-dollars; nothing where that is not known."""
    return lambda asked, told: (teacher.cost(asked, told) or 0) if isinstance(teacher, PricedTeacher) else 0


def _told(question: Question[Any], pair: Pair) -> int:
    """Tokens of the texts that an answer replaces."""
    parts = {"instruction": pair.question, "response": pair.response}
    return sum(_tokens(parts.get(name, "")) for name in question.rewrites)


def _tokens(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN)
