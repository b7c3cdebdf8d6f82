"""The data that flows through a run: frozen, plain, and free of any machine-learning import."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from attrs import evolve, field, frozen
from cattrs import unstructure

# --- samples and their versions ---------------------------------------------------------------


_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def digest(value: Any) -> str:
    """The content hash used for every id and key: SHA-256 of canonical JSON, 32 hexadecimal digits."""
    text = _CANONICAL.encode(value)
    # A lone surrogate cannot be encoded as UTF-8, and user data holds some.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


_THINKING = re.compile(r"<think>.*?</think>\s*", re.DOTALL)


@frozen
class Turn:
    """One message of a conversation."""

    role: str
    """``system``, ``user`` or ``assistant``."""
    content: str


@frozen
class Pair:
    """An instruction and its response: x and y of the papers, with what came before them."""

    instruction: str
    input: str = ""
    response: str = ""
    system: str | None = None
    """The record's own system prompt, if it has one."""
    history: tuple[Turn, ...] = ()
    """Earlier user and assistant turns, oldest first."""

    @property
    def question(self) -> str:
        """The target of r-IFD: the instruction followed by its input, with no separator."""
        return self.instruction + self.input

    @property
    def answer(self) -> str:
        """The response without reasoning traces in ``<think>`` tags, which restate the question."""
        return _THINKING.sub("", self.response)

    @cached_property
    def hash(self) -> str:
        """Content hash of the whole pair."""
        return digest(unstructure(self))


@frozen
class Record:
    """One row as a format reads and writes it."""

    pair: Pair
    extra: Mapping[str, Any] = field(factory=dict)
    """Columns that are no part of the pair, kept as they are."""


@frozen
class Version:
    """One text of a sample: the original, or a rewrite with its lineage."""

    name: str
    """``original``, or the reflections that led here: ``instruction``, ``instruction.response``, …"""
    pair: Pair
    parent: str | None = None
    """Name of the version it was rewritten from."""
    reflection: str | None = None
    call: str | None = None
    """Ledger key of the answer it was parsed from."""


@frozen
class Range:
    """The values of a metric that make sense, or that a gate lets through. Bounds left out are open."""

    below: float | None = None
    at_most: float | None = None
    above: float | None = None
    at_least: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
            and (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
        )

    def __str__(self) -> str:
        bounds = (("<", self.below), ("≤", self.at_most), (">", self.above), ("≥", self.at_least))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None) or "any"


@frozen
class Score:
    """The value of one metric for one version, or why there is none."""

    value: float | None
    status: str = "ok"
    """``ok``; ``out_of_range``: a number that cannot win a choice; anything else: no number."""
    reason: str | None = None

    @property
    def eligible(self) -> bool:
        """Whether a version may win a choice with this score."""
        return self.status == "ok" and self.value is not None


ORIGINAL = "original"


@frozen
class Failure:
    """Something that did not work for one sample; the sample goes on with the version it has."""

    stage: str
    kind: str
    reason: str
    call: str | None = None


@frozen
class Decision:
    """What a choice or a gate decided about one sample, and why."""

    stage: str
    """The stage that decided. A run puts its label for the stage here: its kind and options, ``choose highest ifd``."""
    candidates: tuple[str, ...]
    """Names of the versions compared, the one held so far first."""
    kept: str
    reason: str


@frozen
class Sample:
    """A sample on its way through the stages."""

    id: str
    row: int
    """Row number in the input, from 0."""
    versions: tuple[Version, ...]
    """The original first, then every rewrite in the order in which it was made."""
    kept: str = ORIGINAL
    decisions: tuple[Decision, ...] = ()
    failures: tuple[Failure, ...] = ()
    scores: Mapping[str, Mapping[str, Score]] = field(factory=dict, eq=False)
    """Every score that a stage has read so far, by version and metric."""

    def version(self, name: str) -> Version:
        """The version called *name*.

        Raises:
            KeyError: there is none.
        """
        for version in self.versions:
            if version.name == name:
                return version
        raise KeyError(name)

    @property
    def current(self) -> Version:
        """The version kept so far."""
        return self.version(self.kept)

    @property
    def original(self) -> Version:
        """The version that was read."""
        return self.versions[0]

    @property
    def rivals(self) -> tuple[Version, ...]:
        """Rewrites of the current version that no choice has judged yet."""
        judged = {name for decision in self.decisions for name in decision.candidates}
        return tuple(v for v in self.versions if v.parent == self.kept and v.name not in judged)

    def adding(self, version: Version) -> Sample:
        """The sample with one more version."""
        return evolve(self, versions=(*self.versions, version))

    def deciding(self, decision: Decision) -> Sample:
        """The sample after a decision: the version it names is the current one."""
        return evolve(self, kept=decision.kept, decisions=(*self.decisions, decision))

    def scoring(self, scores: Mapping[Version, Mapping[str, Score]]) -> Sample:
        """The sample with more scores of its versions; those of other samples' versions are passed over."""
        mine = {v.name: {**self.scores.get(v.name, {}), **scores[v]} for v in self.versions if v in scores}
        return evolve(self, scores={**self.scores, **mine}) if mine else self

    def failing(self, failure: Failure) -> Sample:
        """The sample with one more failure noted; nothing else changes."""
        return evolve(self, failures=(*self.failures, failure))


@frozen
class Dropped:
    """The end of a sample that is not kept."""

    sample: Sample
    reason: str


# --- selection --------------------------------------------------------------------------------


@frozen
class Scored:
    """A version with the scores that a selector asked for."""

    sample_id: str
    row: int
    _version: Version | Callable[[], Version]
    scores: Mapping[str, Score]

    @property
    def version(self) -> Version:
        """The version with its texts. Those of a data set are read each time they are asked for, and not kept."""
        return self._version if isinstance(self._version, Version) else self._version()


@frozen
class Choice:
    """A selector's word on the versions of one sample."""

    kept: str
    reason: str


@frozen
class Verdict:
    """A selector's word on one sample of a data set."""

    keep: bool
    reason: str


# --- teacher calls ----------------------------------------------------------------------------


_TOKENS_A_MESSAGE = 16
"""Bound of what a provider adds around one message: role, separators, start of the answer."""


MOST_TOKENS = 10_000_000
"""Longest answer that may be asked for: no model gives more, and its price stays a number that can be stored."""

MOST_TEMPERATURE = 100.0
"""Largest temperature that may be asked for: long before it every token is as likely as the next."""


@frozen
class Sampling:
    """How the teacher draws its answer. See :func:`rt_framework.teacher.asking.checked` for what may be sent."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 1024
    seed: int | None = None


@frozen
class Request:
    """One question to a teacher. Every field is sent or identifies the question; none is secret."""

    reflection: str
    pair_hash: str
    index: int
    """0 for the first answer asked for this pair; n for the n-th after n unusable ones."""
    messages: tuple[Turn, ...]
    sampling: Sampling
    schema: Mapping[str, Any] | None = None
    """JSON schema of the answer, where the teacher can hold to one."""

    @property
    def most_prompt_tokens(self) -> int:
        """Most tokens that the prompt can have: no tokenizer makes more of a text than it has bytes."""
        texts = [turn.content for turn in self.messages]
        texts += [json.dumps(self.schema)] if self.schema is not None else []
        return sum(len(text.encode("utf-8", "replace")) + _TOKENS_A_MESSAGE for text in texts)


@frozen
class Usage:
    """Tokens of one call, as the provider counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@frozen
class Reply:
    """A teacher's raw answer: kept for ever, parsed as often as one likes."""

    text: str
    finish_reason: str = "stop"
    """``stop``, ``length`` (cut off) or ``content_filter``, as OpenAI names them."""
    usage: Usage = Usage()
    model: str = ""
    """The model that answered."""
    nano_dollars: int = 0
    """Cost, rounded up."""
    note: str = ""
    """What was not believed of the provider's word on its tokens; empty where all was."""


@frozen
class Pending:
    """A batch that the provider is still working on."""

    done: int
    """Requests that have been answered."""
    total: int


@frozen
class Unparsed:
    """An answer that cannot be used, and why."""

    kind: str
    reason: str
