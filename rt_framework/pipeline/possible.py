"""The versions that a sample may get in a run, and upper bounds of the cost of questions about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from rt_framework.data import HashSet64
from rt_framework.errors import FALLBACK_KINDS, KINDS, Retry, RtError
from rt_framework.model import TOKENS_A_MESSAGE, Pair, Reply, Request, Rewrite, Sample, Unparsed, digest
from rt_framework.pipeline.foresight import Known
from rt_framework.pipeline.steps import Asking
from rt_framework.protocols import PricedTeacher, Question, Teacher
from rt_framework.teacher import (
    followed,
    lineage,
    most_own_tokens,
    parsed,
    reasoning_tokens_of,
    rendered,
    steps_of,
)

_BYTES_A_TOKEN = 4
"""UTF-8 bytes per token of English text, by OpenAI's rule of thumb; other scripts give more tokens per byte."""


@frozen(eq=False)
class Text:
    """A version of a sample, which may not be written yet."""

    pair: Pair
    """Pair of this version; if it is not written yet, that of the version from which it will be made."""
    name: str
    """Lineage: the names of the reflections that led to this version, joined by dots, or ``original``."""
    written: bool = True
    grown: int = 0
    """Most tokens by which this version can be longer than *pair*."""
    several: bool = False
    """True if this is the longest of several unwritten versions and stands for all of them."""
    asked: set[str] = field(factory=set)
    """Names of the reflections that have already rewritten this version."""


@frozen
class Ahead:
    """A request that a run may send, as far as it is known: itself, or the first one of its conversation."""

    request: Request
    step: int = 0
    """Number of answers after *request* that will stand before it; 0 for *request* itself."""

    @property
    def longest(self) -> int:
        """Most tokens of its answer."""
        return self.request.sampling.max_tokens

    def most_prompt_tokens(self, grown: int) -> int:
        """Return the most tokens of its prompt, if the text that it is about is longer by *grown* tokens."""
        answers = self.step * (self.longest + TOKENS_A_MESSAGE)
        return most_own_tokens(self.request, self.step) + (self.step + 1) * grown + answers


@frozen
class Link:
    """A question about a text as far as one teacher is asked, with every answer that the ledger has."""

    teacher: str
    keys: tuple[tuple[str, bool], ...]
    """Key of each request in the order of a run, and whether its answer or its final failure is known. They end at the
    first request without, or with one whose answer is usable or rules out another try, or at the last try."""
    rest: tuple[Ahead, ...] = ()
    """Requests that a run may send, one after the other until an answer is usable."""
    said: Pair | None = None
    """The rewrite, if the answers give one."""
    fails: bool = False
    """True if the teacher's fallback is asked next, if it has one."""


@frozen
class Chain:
    """A question about a text, at its teacher and at the fallbacks that may be asked after it, in order."""

    links: tuple[Link, ...]
    rewrites: bool
    """True if a request that is not sent yet may still give a rewrite."""

    @property
    def likely(self) -> Link:
        """The first teacher with requests that may be sent; without one the last, as every answer is known."""
        return next((link for link in self.links if link.rest), self.links[-1])

    @property
    def keys(self) -> tuple[tuple[str, bool], ...]:
        """The requests of all teachers up to the first one that is sent."""
        links = self.links[: self.links.index(self.likely) + 1]
        return tuple(key for link in links for key in link.keys)

    @property
    def said(self) -> Pair | None:
        """The rewrite that known answers give, or that of a fallback which an open answer may yet make needless."""
        return next((link.said for link in self.links if link.said is not None), None)


class Texts:
    """The versions of one sample: those that exist, and those that questions on its path can add.

    Args:
        sample: the sample at the point from which its path is no longer certain.
    """

    def __init__(self, sample: Sample) -> None:
        rewritten = {(version.parent, version.reflection) for version in sample.versions}
        self.all = [
            Text(version.pair, version.name, asked={str(name) for parent, name in rewritten if parent == version.name})
            for version in sample.versions
        ]
        self.current = [text for text in self.all if text.name == sample.kept]
        """Versions of which the sample keeps one; a single one until a stage may have chosen another."""

    def decided(self) -> None:
        """Note that the sample has passed a stage that may keep any version."""
        self.current = list(self.all)

    def grow(self, text: Text, name: str, chain: Chain) -> None:
        """Add the version that the question *name* about *text* gives or may give, if any."""
        called = lineage(text.name, name)
        if chain.said is not None:
            self.all = [*self.all, Text(chain.said, called)]
            # Only then is it certain that the question is about this text, and that nothing is sent for it.
            if len(self.current) == 1 and not chain.rewrites:
                text.asked.add(name)
        if chain.rewrites:
            longest = max(ahead.longest for link in chain.links for ahead in link.rest)
            self.all = [*self.all, Text(text.pair, called, False, text.grown + longest)]

    def gather(self) -> None:
        """Replace all unwritten versions made from one text by the longest of them.

        Without this the number of versions would double with every question.
        """
        merged: dict[tuple[str, str], Text] = {}
        for text in self.all:
            key = (text.name if text.written else "", text.pair.hash)
            other = merged.setdefault(key, text)
            if not text.written and other is not text:
                merged[key] = evolve(text, grown=max(text.grown, other.grown), several=True)
        self.all = self.current = list(merged.values())


class Questions:
    """The look-up of questions in the ledger, and the price of those that it has no answer for.

    Args:
        known: the answers in the ledger.
        answers: most answers asked for one rewrite.
        price: returns the cost of a number of prompt tokens and answer tokens of a teacher, in nano-dollars.
    """

    def __init__(self, known: Known, answers: int, price: Callable[[str, int, int], int]) -> None:
        self._known = known
        self._answers = answers
        self.price = price

    def chain(self, asking: Asking, text: Text) -> Chain:
        """Return the chain of requests of a question about a text, with the answers in the ledger."""
        links = [self._link(asking, text)]
        while links[-1].fails and (fallback := self._known.fallbacks.get(links[-1].teacher)) is not None:
            try:
                links.append(self._link(evolve(asking, teacher=fallback), text))
            except RtError:
                raise
            except Exception:  # a run that gets here fails the sample
                break
        return Chain(tuple(links), bool(asking.question.rewrites) and any(link.rest for link in links))

    def most(self, link: Link, text: Text) -> Mapping[str, int]:
        """Return the most that a question can still cost at one teacher.

        That is the sum over every request that may be sent, each at the price that is reserved for it.
        """
        total: Counter[str] = Counter()
        reasoning = reasoning_tokens_of(self._known.teachers[link.teacher])
        for ahead in link.rest:
            prompt, answer = ahead.most_prompt_tokens(text.grown), ahead.longest + reasoning
            cost = self.price(link.teacher, prompt, answer)
            total.update(sends=1, prompt_tokens=prompt, answer_tokens=answer, cost=cost)
        return total

    def _link(self, asking: Asking, text: Text) -> Link:
        question, teacher = asking.question, asking.teacher
        keys: list[tuple[str, bool]] = []
        fails = False
        for index in range(self._answers):
            first = self._request(asking, text, index)
            asked = list(self._conversation(asking, text, first))
            request, key, reply = asked[-1]
            failed = self._known.final_failure(key, teacher) if reply is None and text.written else None
            keys += [(key, True) for _, key, _ in asked[:-1]] + [(key, reply is not None or failed is not None)]
            if failed is not None:
                kind = failed.kind
            elif reply is not None:
                said = parsed(question, text.pair, request, reply)
                if not isinstance(said, Unparsed):
                    pair = said.pair if isinstance(said, Rewrite) else said
                    return Link(teacher, tuple(keys), said=pair if isinstance(pair, Pair) else None)
                kind = KINDS[said.kind]
            elif key in self._known.on_hold:
                return Link(teacher, tuple(keys))
            else:
                return Link(teacher, tuple(keys), self._rest(asking, text, first, request), fails=True)
            fails = kind.name in FALLBACK_KINDS
            if kind.retry is not Retry.CHANGE:
                break
        return Link(teacher, tuple(keys), fails=fails)

    def _conversation(self, asking: Asking, text: Text, first: Request) -> Iterator[tuple[Request, str, Reply | None]]:
        """Yield the requests of a conversation, each with its key and its answer, up to the first without an answer."""
        further: Request | None = first
        while further is not None:
            request = further
            key = self._known.key(request, asking.teacher)
            reply = self._known.reply(key, request, asking.teacher) if text.written else None
            yield request, key if text.written else digest([key, text.name]), reply
            further = None if reply is None else followed(asking.question, text.pair, first, request, reply)

    def _rest(self, asking: Asking, text: Text, first: Request, request: Request) -> tuple[Ahead, ...]:
        """Return what may be sent from *request* on: the rest of its conversation, begun by *first*, and others.

        Each conversation may take all its steps.
        """
        steps = steps_of(asking.question, asking.name)
        ahead = [Ahead(request), *(Ahead(first, step) for step in range(request.step + 1, steps))]
        for index in range(first.index + 1, self._answers):
            try:
                later = self._request(asking, text, index)
            except RtError:
                raise
            except Exception:  # a run that gets here fails the sample
                break
            ahead += [Ahead(later, step) for step in range(steps)]
        return tuple(ahead)

    def _request(self, asking: Asking, text: Text, index: int) -> Request:
        structured = self._known.teachers[asking.teacher].structured
        return rendered(asking.question, text.pair, index, structured, asking.draw)


@frozen
class Option:
    """One of the alternative questions that a sample may lead to, as far as one teacher is asked."""

    teacher: str
    key: str
    """Key of the first request without an answer."""
    most: Mapping[str, int]
    """The most that the question can cost; empty if its answers are in the ledger."""
    several: bool
    """True if the option stands for several questions."""


class Highest:
    """The sum of upper bounds over samples, which counts equal questions once, since they are paid for once."""

    def __init__(self) -> None:
        self._total: Counter[str] = Counter()
        self._groups = HashSet64()

    def __getitem__(self, name: str) -> int:
        return self._total[name]

    def add(self, options: Sequence[Option]) -> None:
        """Add the most expensive of the questions of which a sample asks one.

        Samples with the same options may each ask a different question, but together they ask no more distinct
        questions than there are options. So the n-th such sample adds the n-th most expensive question.
        """
        costly = {option.key: option for option in options if option.most}
        if not costly:
            return
        rank = 0
        if not any(option.several for option in costly.values()):
            group = sorted(costly)
            while rank < len(costly) and not self._groups.add(int(digest([*group, rank])[:16], 16)):
                rank += 1
            if rank == len(costly):
                return
        for name in ("sends", "prompt_tokens", "answer_tokens", "cost"):
            self._total[name] += sorted((option.most[name] for option in costly.values()), reverse=True)[rank]


def pricing(teachers: Mapping[str, Teacher]) -> Callable[[str, int, int], int]:
    """Return a function from a teacher's prompt and answer tokens to their cost in nano-dollars, 0 if not known."""

    def price(name: str, sent: int, received: int) -> int:
        teacher = teachers[name]
        return (teacher.cost(sent, received) or 0) if isinstance(teacher, PricedTeacher) else 0

    return price


def told_tokens(question: Question[Any], pair: Pair) -> int:
    """Return about how many tokens the texts have that an answer to the question replaces."""
    parts = {"instruction": pair.question, "response": pair.response}
    return sum(tokens(parts.get(name, "")) for name in question.rewrites)


def tokens(text: str) -> int:
    """Return about how many tokens a text has, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN)
