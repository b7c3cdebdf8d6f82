"""A quote for a run, before anything is sent: every prompt is rendered and counted, none leaves this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from attrs import frozen

from rt_framework.config import Config, Limits
from rt_framework.data import HashSet64
from rt_framework.errors import RtError
from rt_framework.ledger import Ledger
from rt_framework.model import Request, Sample
from rt_framework.pipeline import (
    Foresight,
    Highest,
    Known,
    Option,
    Questions,
    Step,
    Text,
    Texts,
    open_job,
    reflection_facts,
    teacher_facts,
    tokens,
    told_tokens,
)
from rt_framework.plugin import Host
from rt_framework.protocols import PricedTeacher, Question, Teacher
from rt_framework.rundir import LEDGER, check_frozen, check_run, look
from rt_framework.teacher import check_priced, is_priced, rendered

_Asks = tuple[tuple[str, Question[Any]], ...]
"""The questions of one stage, by name."""

_SHOWN = 3
"""Number of prompts that a quote shows."""


@frozen
class Bounds:
    """A likely amount, if all goes well, and the highest amount to which any arriving answers can lead.

    ``high`` holds for every choice between versions that the pipeline can make. It assumes that a stage asks each of
    its questions once about the version that a sample holds, in exhaustive mode once about every version.
    """

    low: int
    high: int


@frozen
class Quote:
    """The calls of a run, and the cost that is still to be paid for them."""

    samples: int
    calls: int
    """Questions that a run asks if nothing more fails."""
    unique: int
    """Distinct calls: equal ones are asked once."""
    answered: int
    """Unique calls whose answers are in the run directory already."""
    guessed: int
    """Unique calls about texts that the teacher has not written yet."""
    broken: int
    """Samples for which a reflection or another plugin raises an exception."""
    sends: Bounds
    """Calls without an answer: low if each is asked once, high if as often as ``limits.answers`` allows."""
    prompt_tokens: Bounds
    answer_tokens: Bounds
    cost: Bounds | None
    """Nano-dollars still to be paid; ``None`` if the price is unknown."""
    spent: int
    """Nano-dollars spent so far in the run directory."""
    prompts: tuple[tuple[int, Request], ...]
    """Row and request of the first few questions."""


def quote(host: Host, config: Config, run_dir: Path, moved: bool = False) -> Quote:
    """Count the calls that *config* would make in *run_dir*, and their cost. Writes nothing and loads no student.

    Args:
        host: finds the plugins.
        config: the job.
        run_dir: run directory of the job; it need not exist yet.
        moved: whether the teacher may be asked at another place than the run directory knows.

    Raises:
        RtError: an error that would keep a run from starting, as far as it shows without a student.
    """
    job = open_job(host, config)
    if config.teacher is None:
        nothing = Bounds(0, 0)
        return Quote(job.source.count(), 0, 0, 0, 0, 0, nothing, nothing, nothing, nothing, 0, ())
    teacher: Teacher = job.make.spec("teachers", config.teacher)
    check_priced(teacher, teacher.identity, config.limits.budget_usd)
    with _looking(run_dir) as ledger:
        if ledger is not None:
            facts = {"data": job.source.facts(), **teacher_facts(teacher), **reflection_facts(job.steps)}
            check_frozen(ledger, run_dir, facts, moved)
        counting = _Counting(teacher, job.steps, config.limits, config.pipeline.exhaustive, ledger)
        try:
            for sample in job.source.samples():
                counting.add(sample)
            return counting.quote()
        finally:
            counting.close()


@contextmanager
def _looking(run_dir: Path) -> Iterator[Ledger | None]:
    """Open the ledger of a run directory for reading; yield ``None`` if there is no ledger."""
    if not (run_dir / LEDGER).is_file():
        check_run(run_dir)
        yield None
        return
    with look(run_dir) as ledger:
        yield ledger


class _Amounts:
    """The counts and amounts of a quote so far."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.low: Counter[str] = Counter()
        self.high = Highest()
        self.prompts: list[tuple[int, Request]] = []
        self._seen = HashSet64()

    def count(self, key: str, answered: bool, guessed: bool) -> bool:
        """Count a question; return whether it was not counted before."""
        fresh = self._seen.add(int(key[:16], 16))
        self.counts.update(calls=1, unique=fresh, answered=fresh and answered, guessed=fresh and guessed)
        return fresh


class _Counting:
    """Counter of a run's calls: exact as far as the ledger determines a sample's way, then a low and a high bound."""

    def __init__(
        self, teacher: Teacher, steps: Sequence[Step], limits: Limits, exhaustive: bool, ledger: Ledger | None
    ) -> None:
        holds = limits.on_ambiguous == "hold" and ledger is not None
        known = Known(ledger, teacher, frozenset(ledger.calls.doubtful() if holds and ledger else ()))
        self._teacher = teacher
        self._ledger = ledger
        self._foresight = Foresight(known, steps, limits.answers, exhaustive)
        self._asks = [tuple(step.stage.reflections.items()) for step in steps]
        questions = Questions(known, limits.answers, lru_cache(maxsize=1 << 16)(_pricing(teacher)))
        self._questions = questions
        self._exhaustive = exhaustive
        self._amounts = _Amounts()

    def close(self) -> None:
        """Free the resources of the counter."""
        self._foresight.close()

    def quote(self) -> Quote:
        """Return the counts as a quote."""
        amounts = self._amounts
        names = ("sends", "prompt_tokens", "answer_tokens", "cost")
        sends, prompts, answers, cost = (Bounds(amounts.low[name], amounts.high[name]) for name in names)
        counted = ("samples", "calls", "unique", "answered", "guessed", "broken")
        return Quote(
            **{name: amounts.counts[name] for name in counted},
            sends=sends,
            prompt_tokens=prompts,
            answer_tokens=answers,
            cost=cost if is_priced(self._teacher) else None,
            spent=0 if self._ledger is None else self._ledger.costs.spent(),
            prompts=tuple(amounts.prompts),
        )

    def add(self, sample: Sample) -> None:
        """Count one more sample."""
        self._amounts.counts["samples"] += 1
        way = self._foresight.of(sample)
        for one in way.asked:
            self._amounts.count(one.key, one.answered, guessed=False)
        self._amounts.counts["broken"] += way.broken
        try:
            self._show(sample)
            if way.sample is not None:
                self._likely(Texts(way.sample), self._asks[way.steps :])
        except RtError:
            raise
        except Exception:  # a run fails this sample and goes on
            self._amounts.counts["broken"] += 1
        if way.sample is not None:
            self._worst(Texts(way.sample), self._asks[way.steps :])

    def _show(self, sample: Sample) -> None:
        first = next(((name, one) for asks in self._asks for name, one in asks), None)
        if first is not None and len(self._amounts.prompts) < _SHOWN:
            request = rendered(first[1], sample.original.pair, 0, self._teacher.structured)
            self._amounts.prompts.append((sample.row, request))

    # --- low --------------------------------------------------------------------------------

    def _likely(self, texts: Texts, stages: Sequence[_Asks]) -> None:
        """Count the questions of a sample if all goes well."""
        for asks in stages:
            if not asks:
                texts.decided()
            for name, question in asks:
                for text in texts.all if self._exhaustive else self._likeliest(texts, name, question):
                    if name not in text.asked:
                        self._likely_ask(texts, text, name, question)

    def _likeliest(self, texts: Texts, name: str, question: Question[Any]) -> Sequence[Text]:
        """Return the likeliest text: the only candidate; after a choice, one with a known answer, else the newest."""
        if len(texts.current) == 1:
            return texts.current
        free = [text for text in texts.all if name not in text.asked]
        if all(text.written for text in free):
            free = [text for text in free if self._questions.chain(question, text).keys[0][1]] or free
        return free[-1:]

    def _likely_ask(self, texts: Texts, text: Text, name: str, question: Question[Any]) -> None:
        chain = self._questions.chain(question, text)
        for key, answered in chain.keys:
            fresh = self._amounts.count(key, answered, guessed=not text.written)
        if chain.rest and fresh:
            request = chain.rest[0]
            asked = sum(tokens(turn.content) for turn in request.messages)
            told = min(told_tokens(question, text.pair), request.sampling.max_tokens)
            cost = self._questions.price(asked, told)
            self._amounts.low.update(sends=1, prompt_tokens=asked, answer_tokens=told, cost=cost)
        texts.grow(text, name, chain)

    # --- high -------------------------------------------------------------------------------

    def _worst(self, texts: Texts, stages: Sequence[_Asks]) -> None:
        """Count the most expensive questions that a sample can lead to, whatever is chosen on its way."""
        for asks in stages:
            if not asks:
                texts.decided()
            for name, question in asks:
                about = texts.all if self._exhaustive else texts.current
                options = [option for text in about for option in self._option(texts, text, name, question)]
                for chosen in [[one] for one in options] if self._exhaustive else [options]:
                    self._amounts.high.add(chosen)
                texts.decided()  # a stage that asks may choose as well
            if not self._exhaustive:
                texts.gather()

    def _option(self, texts: Texts, text: Text, name: str, question: Question[Any]) -> Iterator[Option]:
        """Yield the most that a question about a text can still cost; nothing if the question cannot be asked."""
        if name in text.asked:
            return
        try:
            chain = self._questions.chain(question, text)
            most = self._questions.most(text, chain)
        except RtError:
            raise
        except Exception:  # a run that gets here fails the sample
            return
        texts.grow(text, name, chain)
        yield Option(chain.keys[-1][0], most, text.several)


def _pricing(teacher: object) -> Callable[[int, int], int]:
    """Return a function from prompt and answer tokens to their cost in nano-dollars, 0 if it is not known."""
    return lambda asked, told: (teacher.cost(asked, told) or 0) if isinstance(teacher, PricedTeacher) else 0
