"""The versions that a sample may come to hold, and the most that questions about them can cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from rt_framework.data import HashSet64
from rt_framework.errors import KINDS, Retry, RtError
from rt_framework.model import Pair, Request, Sample, Unparsed, digest
from rt_framework.pipeline.foresight import Known
from rt_framework.protocols import Question
from rt_framework.teacher import lineage, rendered

_BYTES_A_TOKEN = 4
"""Usual for English text, by OpenAI's rule of thumb; other scripts make more tokens of as many bytes."""


@frozen(eq=False)
class Text:
    """A version of a sample, as far as it is known."""

    pair: Pair
    """Its own; that of the version it will be made from, where it is not written yet."""
    name: str
    """Its lineage."""
    written: bool = True
    grown: int = 0
    """Most tokens that it can have more than *pair*."""
    several: bool = False
    """Whether it stands for several that are not written yet, as the longest of them."""
    asked: set[str] = field(factory=set)
    """Reflections of which it has a rewrite."""


@frozen
class Chain:
    """A question about a text, with every answer that is there."""

    keys: tuple[tuple[str, bool], ...]
    """Key of each request in the order of a run, and whether it is answered: up to one that is not, or is of use."""
    rest: tuple[Request, ...] = ()
    """The requests that a run would send, one after the other until an answer is of use."""
    said: Pair | None = None
    """The rewrite, where the answers give one."""
    rewrites: bool = False
    """Whether a rewrite may still come."""


class Texts:
    """The versions of one sample: those that there are, and those that questions on its way can add.

    Args:
        sample: where its way is no longer certain.
    """

    def __init__(self, sample: Sample) -> None:
        made = {(one.parent, one.reflection) for one in sample.versions}
        self.all = [
            Text(one.pair, one.name, asked={str(name) for parent, name in made if parent == one.name})
            for one in sample.versions
        ]
        self.held = [text for text in self.all if text.name == sample.kept]
        """Those of which one is held; which one is known only as long as no stage has decided."""

    def decided(self) -> None:
        """Note that a stage lay on the way that may keep any version there is."""
        self.held = list(self.all)

    def grow(self, text: Text, name: str, chain: Chain) -> None:
        """Add what a question about *text* gives, if it gives a version."""
        called = lineage(text.name, name)
        if chain.said is not None:
            self.all = [*self.all, Text(chain.said, called)]
            if len(self.held) == 1:  # it is certain that it was asked about
                text.asked.add(name)
        elif chain.rewrites:
            longest = max(request.sampling.max_tokens for request in chain.rest)
            self.all = [*self.all, Text(text.pair, called, False, text.grown + longest)]

    def gather(self) -> None:
        """Let the longest stand for all that will be made from one text: else they double with every question."""
        merged: dict[tuple[str, str], Text] = {}
        for text in self.all:
            key = (text.name if text.written else "", text.pair.hash)
            other = merged.setdefault(key, text)
            if not text.written and other is not text:
                merged[key] = evolve(text, grown=max(text.grown, other.grown), several=True)
        self.all = self.held = list(merged.values())


class Questions:
    """Follows questions through the ledger, and prices what it does not hold.

    Args:
        known: the answers that there are.
        answers: most answers asked for one rewrite.
        price: nano-dollars of so many prompt and answer tokens.
    """

    def __init__(self, known: Known, answers: int, price: Callable[[int, int], int]) -> None:
        self._known = known
        self._answers = answers
        self.price = price

    def chain(self, question: Question[Any], text: Text) -> Chain:
        """A question about a text, with its answers."""
        keys: list[tuple[str, bool]] = []
        for index in range(self._answers):
            request = self._request(question, text, index)
            key = self._known.key(request)
            reply = self._known.reply(key) if text.written else None
            key = key if text.written else digest([key, text.name])
            keys.append((key, reply is not None))
            if reply is None and key in self._known.held:
                break
            if reply is None:
                return Chain(tuple(keys), self._rest(question, text, request), rewrites=bool(question.rewrites))
            said = question.parse(text.pair, request, reply)
            if not isinstance(said, Unparsed):
                return Chain(tuple(keys), said=said if isinstance(said, Pair) else None)
            if KINDS[said.kind].retry is not Retry.CHANGE:
                break
        return Chain(tuple(keys))

    def most(self, text: Text, chain: Chain) -> Mapping[str, int]:
        """The most that a chain can still come to: every answer that is allowed, each as dear as it is reserved for."""
        total: Counter[str] = Counter()
        for request in chain.rest:
            longest, prompt = request.sampling.max_tokens, request.most_prompt_tokens + text.grown
            total.update(sends=1, prompt_tokens=prompt, answer_tokens=longest, cost=self.price(prompt, longest))
        return total

    def _rest(self, question: Question[Any], text: Text, first: Request) -> tuple[Request, ...]:
        rest = [first]
        for index in range(first.index + 1, self._answers):
            try:
                rest.append(self._request(question, text, index))
            except RtError:
                raise
            except Exception:  # a run that comes so far fails the sample
                break
        return tuple(rest)

    def _request(self, question: Question[Any], text: Text, index: int) -> Request:
        return rendered(question, text.pair, index, self._known.teacher.structured)


@frozen
class Option:
    """A question that a sample may lead to, in place of others."""

    key: str
    """That of the first request without an answer."""
    most: Mapping[str, int]
    """What it can cost; empty where it has its answers."""
    several: bool
    """Whether it stands for several questions."""


class Highest:
    """Adds up bounds of samples that share questions: equal ones are paid for once, however the choices fall."""

    def __init__(self) -> None:
        self._total: Counter[str] = Counter()
        self._groups = HashSet64()

    def __getitem__(self, name: str) -> int:
        return self._total[name]

    def add(self, options: Sequence[Option]) -> None:
        """Add the dearest of the questions of which a sample asks one.

        Samples with the same options can ask a different one each, but never more than there are: the n-th of them
        adds the n-th dearest.
        """
        costly = {one.key: one for one in options if one.most}
        if not costly:
            return
        rank = 0
        if not any(one.several for one in costly.values()):
            group = sorted(costly)
            while rank < len(costly) and not self._groups.add(int(digest([*group, rank])[:16], 16)):
                rank += 1
            if rank == len(costly):
                return
        for name in ("sends", "prompt_tokens", "answer_tokens", "cost"):
            self._total[name] += sorted((one.most[name] for one in costly.values()), reverse=True)[rank]


def told_tokens(question: Question[Any], pair: Pair) -> int:
    """Tokens of the texts that an answer replaces."""
    parts = {"instruction": pair.question, "response": pair.response}
    return sum(tokens(parts.get(name, "")) for name in question.rewrites)


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN)
