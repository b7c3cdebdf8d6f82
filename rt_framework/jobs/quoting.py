"""A quote for a run, before anything is sent: every prompt is rendered and counted, none leaves this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import chain as joined
from itertools import groupby
from pathlib import Path

from attrs import frozen

from rt_framework.config import MAIN_TEACHER, Config, Limits
from rt_framework.data import HashSet64, Source
from rt_framework.errors import RtError
from rt_framework.ledger import Ledger
from rt_framework.model import Request, Sample
from rt_framework.pipeline import (
    Asking,
    Columns,
    Foresight,
    Highest,
    Known,
    Option,
    Questions,
    Step,
    Text,
    Texts,
    columns_of,
    open_job,
    pricing,
    reflection_facts,
    teacher_facts,
    teachers_of,
    tokens,
    told_tokens,
)
from rt_framework.plugin import Host
from rt_framework.protocols import DecidingStage
from rt_framework.rundir import LEDGER, check_elsewhere, check_frozen, check_run, look, looking_elsewhere, read_reviews
from rt_framework.teacher import check_priced, is_priced, rendered

_Asks = tuple[Asking, ...]
"""Questions of one stage."""

_SHOWN = 3
"""Number of prompts that a quote shows."""


@frozen
class Bounds:
    """A likely amount, and the highest amount to which any arriving answers can lead."""

    low: int
    """The amount if all goes well."""
    high: int
    """The highest amount, whatever the pipeline chooses. It assumes that a stage asks each of its questions about the
    version that a sample holds, in exhaustive mode about every version, and each once or as often as it declares."""


@frozen
class TeacherQuote:
    """The part of a quote that goes to one of several teachers."""

    name: str
    """Name of the teacher in the config: ``teacher`` for the main one."""
    sends: Bounds
    prompt_tokens: Bounds
    answer_tokens: Bounds
    cost: Bounds | None


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
    """Calls without an answer: low if each is asked once, high if as often as ``limits.answers`` allows, each with all
    the further requests that a question in steps may send."""
    prompt_tokens: Bounds
    answer_tokens: Bounds
    cost: Bounds | None
    """Nano-dollars still to be paid; ``None`` if the price is unknown."""
    spent: int
    """Nano-dollars spent so far in the run directory."""
    prompts: tuple[tuple[int, Request], ...]
    """Row and request of the first few questions."""
    teachers: tuple[TeacherQuote, ...] = ()
    """The part of each teacher, where the run asks more than one."""


def quote(host: Host, config: Config, run_dir: Path, moved: bool = False, source: Source | None = None) -> Quote:
    """Count the calls that *config* would make in *run_dir*, and their cost. Writes nothing and loads no student.

    Args:
        host: finds the plugins.
        config: the job.
        run_dir: run directory of the job; it need not exist yet.
        moved: whether the teacher may be asked at another place than the run directory knows.
        source: the samples, where they are rows in memory; those that the config names when left out.

    Raises:
        RtError: an error that would keep a run from starting, as far as it shows without a student.
    """
    job = open_job(host, config, source=source)
    teachers = teachers_of(job.make, job.teachers, job.students)
    if not teachers:
        nothing = Bounds(0, 0)
        return Quote(job.source.count(), 0, 0, 0, 0, 0, nothing, nothing, nothing, nothing, 0, ())
    for name, teacher in teachers.items():
        check_priced(teacher, teacher.identity, config.limits.budget_usd)
        setting = f"teachers.{name}.budget_usd" if name else "teacher.budget_usd"
        check_priced(teacher, teacher.identity, job.teachers[name].budget_usd, setting)
    with _looking(run_dir) as ledger, looking_elsewhere(config.answers) as elsewhere:
        facts = {"data": job.source.facts(), **teacher_facts(teachers), **reflection_facts(job.steps)}
        if ledger is not None:
            check_frozen(ledger, run_dir, facts, moved)
        check_elsewhere(elsewhere, facts, moved)
        holds = config.limits.on_ambiguous == "hold" and ledger is not None
        on_hold = frozenset(ledger.calls.doubtful() if holds and ledger else ())
        fallbacks = {name: one.fallback for name, one in job.teachers.items()}
        known = Known(ledger, teachers, on_hold, tuple(elsewhere.values()), fallbacks, read_reviews(run_dir))
        counting = _Counting(known, job.steps, config.limits, config.pipeline.exhaustive)
        with closing(counting), closing(Columns(columns_of(job.steps))) as columns:
            for sample in columns.of(job.source):
                counting.add(sample)
            return counting.quote()


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
    """The counts and amounts of the calls to one teacher so far."""

    def __init__(self) -> None:
        self.low: Counter[str] = Counter()
        self.high = Highest()

    def bounds(self, name: str) -> Bounds:
        """Return the bounds of one of the amounts."""
        return Bounds(self.low[name], self.high[name])


class _Counting:
    """Counter of a run's calls: exact as far as the ledger determines a sample's way, then a low and a high bound."""

    def __init__(self, known: Known, steps: Sequence[Step], limits: Limits, exhaustive: bool) -> None:
        self._known = known
        self._foresight = Foresight(known, steps, limits.answers, exhaustive)
        self._asks = [_one_after_the_other(step) for step in steps]
        self._questions = Questions(known, limits.answers, lru_cache(maxsize=1 << 16)(pricing(known.teachers)))
        self._exhaustive = exhaustive
        self._tally = _Tally()
        self._amounts = {name: _Amounts() for name in known.teachers}

    def close(self) -> None:
        """Free the resources of the counter."""
        self._foresight.close()

    def quote(self) -> Quote:
        """Return the counts as a quote."""
        parts = tuple(
            TeacherQuote(
                name or MAIN_TEACHER,
                amounts.bounds("sends"),
                amounts.bounds("prompt_tokens"),
                amounts.bounds("answer_tokens"),
                amounts.bounds("cost") if is_priced(self._known.teachers[name]) else None,
            )
            for name, amounts in self._amounts.items()
        )
        costs = [part.cost for part in parts if part.cost is not None]
        counts = self._tally.counts
        return Quote(
            samples=counts["samples"],
            calls=counts["calls"],
            unique=counts["unique"],
            answered=counts["answered"],
            guessed=counts["guessed"],
            broken=counts["broken"],
            sends=_sum(part.sends for part in parts),
            prompt_tokens=_sum(part.prompt_tokens for part in parts),
            answer_tokens=_sum(part.answer_tokens for part in parts),
            cost=_sum(costs) if len(costs) == len(parts) else None,
            spent=0 if self._known.ledger is None else self._known.ledger.costs.spent(),
            prompts=tuple(self._tally.prompts),
            teachers=parts if len(parts) > 1 else (),
        )

    def add(self, sample: Sample) -> None:
        """Count one more sample."""
        self._tally.counts["samples"] += 1
        way = self._foresight.of(sample)
        for asked in way.asked:
            self._tally.count(asked.key, asked.answered, guessed=False)
        self._tally.counts["broken"] += way.broken
        try:
            self._show(sample)
            if way.sample is not None:
                self._likely(Texts(way.sample), way.ahead(self._asks))
        except RtError:
            raise
        except Exception:  # a run fails this sample and goes on
            self._tally.counts["broken"] += 1
        if way.sample is not None:
            self._worst(Texts(way.sample), way.ahead(self._asks))

    def _show(self, sample: Sample) -> None:
        pair = sample.original.pair
        first = next((asking for asks in joined(*self._asks) for asking in asks if asking.about(pair)), None)
        if first is not None and len(self._tally.prompts) < _SHOWN:
            structured = self._known.teachers[first.teacher].structured
            request = rendered(first.question, pair, 0, structured, first.draw)
            self._tally.prompts.append((sample.row, request))

    # --- low --------------------------------------------------------------------------------

    def _likely(self, texts: Texts, stages: Sequence[_Asks]) -> None:
        """Count the questions of a sample if all goes well."""
        for asks in stages:
            if not asks:
                texts.decided()
            for group in _by_question(asks):
                about = [texts.all if self._exhaustive else self._likeliest(texts, asking) for asking in group]
                for asking, some in zip(group, about, strict=True):
                    for text in some:
                        if asking.name not in text.asked and asking.about(text.pair):
                            self._likely_ask(texts, text, asking)

    def _likeliest(self, texts: Texts, asking: Asking) -> Sequence[Text]:
        """Return the likeliest text: the only candidate; after a choice, one with a known answer, else the newest."""
        if len(texts.current) == 1:
            return texts.current
        free = [text for text in texts.all if asking.name not in text.asked]
        if all(text.written for text in free):
            free = [text for text in free if self._questions.chain(asking, text).keys[0][1]] or free
        return free[-1:]

    def _likely_ask(self, texts: Texts, text: Text, asking: Asking) -> None:
        chain = self._questions.chain(asking, text)
        for key, answered in chain.keys:
            fresh = self._tally.count(key, answered, guessed=not text.written)
        asked = chain.likely
        if asked.rest and fresh:
            request = asked.rest[0].request
            sent = sum(tokens(turn.content) for turn in request.messages)
            received = min(told_tokens(asking.question, text.pair), request.sampling.max_tokens)
            cost = self._questions.price(asked.teacher, sent, received)
            low = self._amounts[asked.teacher].low
            low.update(sends=1, prompt_tokens=sent, answer_tokens=received, cost=cost)
        texts.grow(text, asking.name, chain)

    # --- high -------------------------------------------------------------------------------

    def _worst(self, texts: Texts, stages: Sequence[_Asks]) -> None:
        """Count the most expensive questions that a sample can lead to, whatever is chosen on its way."""
        for asks in stages:
            if not asks:
                texts.decided()
            for group in _by_question(asks):
                about = texts.all if self._exhaustive else texts.current
                for asking in group:
                    options = [option for text in about for option in self._options(texts, text, asking)]
                    for name, amounts in self._amounts.items():
                        own = [option for option in options if option.teacher == name]
                        for chosen in [[one] for one in own] if self._exhaustive else [own]:
                            amounts.high.add(chosen)
                texts.decided()  # a stage that asks may choose as well
            if not self._exhaustive:
                texts.gather()

    def _options(self, texts: Texts, text: Text, asking: Asking) -> Iterator[Option]:
        """Yield the most that a question about a text can still cost at its teacher, and at each fallback of that.

        It yields nothing if the question cannot be asked.
        """
        if asking.name in text.asked or not asking.about(text.pair):
            return
        try:
            chain = self._questions.chain(asking, text)
            options = [
                Option(link.teacher, link.keys[-1][0], self._questions.most(link, text), text.several)
                for link in chain.links
            ]
        except RtError:
            raise
        except Exception:  # a run that gets here fails the sample
            return
        texts.grow(text, asking.name, chain)
        yield from options


class _Tally:
    """The counts of questions so far, each once, and the first prompts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.prompts: list[tuple[int, Request]] = []
        self._seen = HashSet64()

    def count(self, key: str, answered: bool, guessed: bool) -> bool:
        """Count a question; return whether it was not counted before."""
        fresh = self._seen.add(int(key[:16], 16))
        self.counts.update(calls=1, unique=fresh, answered=fresh and answered, guessed=fresh and guessed)
        return fresh


def _one_after_the_other(step: Step) -> list[_Asks]:
    """Return the questions of a stage; if it decides between them, those of each question as if it were a stage."""
    apart = isinstance(step.stage, DecidingStage)
    return [part for group in _by_question(step.asks) for part in (group, ())] if apart else [step.asks]


def _by_question(asks: _Asks) -> list[_Asks]:
    """Split the questions of a stage into groups, each of all that is asked with one of them about one version."""
    return [tuple(group) for _, group in groupby(asks, key=lambda asking: id(asking.question))]


def _sum(bounds: Iterable[Bounds]) -> Bounds:
    parts = list(bounds)
    return Bounds(sum(part.low for part in parts), sum(part.high for part in parts))
