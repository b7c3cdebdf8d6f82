"""The data that flows through a run: frozen, plain, and free of any machine-learning import."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from attrs import evolve, field, fields, frozen, has
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

# --- samples and their versions ---------------------------------------------------------------


_CANONICAL = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def digest(value: Any) -> str:
    """Return the content hash used for every id and key: SHA-256 of canonical JSON, cut to 32 hexadecimal digits."""
    text = _CANONICAL.encode(value)
    # A lone surrogate cannot be encoded as UTF-8, and some user data contains them.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


ADDED = {"added": True}
"""Metadata of a field that arrived after the first digests. At its default it stays out of them: see :func:`keyed`."""


def _in_digests(cls: type) -> Callable[[Any], Any]:
    added = {one.name: override(omit_if_default=True) for one in fields(cls) if one.metadata == ADDED}
    return make_dict_unstructure_fn(cls, _KEYED, **added)  # type: ignore[arg-type]


_KEYED = Converter()
_KEYED.register_unstructure_hook_factory(has, _in_digests)


def keyed(value: Any) -> Any:
    """Return frozen objects as plain values for a digest.

    Ids and keys of what was paid for keep their value when a class gets another field, because such a field is marked
    with :data:`ADDED` and left out where it has its default.
    """
    return _KEYED.unstructure(value)


_THINKING = re.compile(r"<think>.*?</think>\s*", re.DOTALL)


@frozen
class Turn:
    """A message of a conversation."""

    role: str
    """``system``, ``user`` or ``assistant``."""
    content: str
    """Text of the message."""


@frozen
class Pair:
    """An instruction and its response, the papers' x and y, with the conversation before them."""

    instruction: str
    """The question or task."""
    input: str = ""
    """Text that the instruction is about; empty where the instruction says it all."""
    response: str = ""
    """The answer."""
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
        return digest(keyed(self))


@frozen
class Rewrite:
    """A new pair, with numbers that the teacher gave it in the same answer, such as marks."""

    pair: Pair
    """The new pair."""
    scores: Mapping[str, float]
    """Numbers by name; the reflection declares the names in ``provides``."""


@frozen
class Record:
    """A row as a format reads and writes it."""

    pair: Pair
    """The texts of the row."""
    extra: Mapping[str, Any] = field(factory=dict)
    """Columns that do not belong to the pair, kept unchanged."""


@frozen
class Version:
    """A text of a sample: the original, or a rewrite with its lineage."""

    name: str
    """``original``, or the reflections that led to this version, joined by dots: ``instruction``,
    ``instruction.response``, …"""
    pair: Pair
    """The texts of the version."""
    parent: str | None = None
    """Name of the version that this one was rewritten from."""
    reflection: str | None = None
    """Name of the reflection that made it; ``None`` for the original."""
    call: str | None = None
    """Ledger key of the teacher's answer that this version was parsed from."""


@frozen
class Range:
    """The sensible values of a metric, or those that pass a gate. A bound that is ``None`` does not limit."""

    below: float | None = None
    """Upper bound, which itself is outside."""
    at_most: float | None = None
    """Upper bound, which itself is inside."""
    above: float | None = None
    """Lower bound, which itself is outside."""
    at_least: float | None = None
    """Lower bound, which itself is inside."""

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
    """The value of one metric for one version, or the reason for its absence."""

    value: float | None
    """The value; ``None`` where there is none."""
    status: str = "ok"
    """``ok``; ``out_of_range``: there is a value, but it cannot win a choice; any other status: there is no value."""
    reason: str | None = None
    """Explanation of a status other than ``ok``."""

    @property
    def eligible(self) -> bool:
        """Return whether a version may win a choice with this score."""
        return self.status == "ok" and self.value is not None


ORIGINAL = "original"


@frozen
class Failure:
    """A failed step of one sample; the sample continues with its current version."""

    stage: str
    """Id of the stage that failed."""
    kind: str
    """Kind of the failure: a name in :data:`rt_framework.errors.KINDS`."""
    reason: str
    """Explanation for the user."""
    call: str | None = None
    """Ledger key of the call that failed; ``None`` where no call did."""


@frozen
class Decision:
    """The decision of a choice or a gate about one sample, and its reason."""

    stage: str
    """Stage that decided. A run writes its label for the stage here, the kind with its options: ``choose highest
    ifd``."""
    candidates: tuple[str, ...]
    """Names of the compared versions; the current version comes first."""
    kept: str
    """Name of the version that is kept."""
    reason: str
    """Explanation for the user, with the compared scores."""


@frozen
class Sample:
    """A sample on its way through the stages."""

    id: str
    """Content hash of the original, and a count of equal samples before it: ``CONTENT-OCCURRENCE``."""
    row: int
    """Row number in the input, from 0."""
    versions: tuple[Version, ...]
    """The original first, then every rewrite in the order in which it was made."""
    kept: str = ORIGINAL
    """Name of the version kept so far."""
    decisions: tuple[Decision, ...] = ()
    """Decisions about the sample, oldest first."""
    failures: tuple[Failure, ...] = ()
    """Failures of stages with the sample, oldest first."""
    scores: Mapping[str, Mapping[str, Score]] = field(factory=dict, eq=False)
    """All scores that a stage has read so far, by version and metric."""
    _extra: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(factory=dict, eq=False, repr=False)
    """Values of the columns that the run's stages read besides the pair, or a function that reads them."""

    @property
    def extra(self) -> Mapping[str, Any]:
        """Values of the columns that the run's stages declare in ``columns``, by name; read at each access."""
        return self._extra() if callable(self._extra) else self._extra

    def __attrs_post_init__(self) -> None:
        names = [version.name for version in self.versions]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two versions of a sample are called '{twice}'; a stage must give a rewrite a new name")

    def version(self, name: str) -> Version:
        """Return the version called *name*.

        Raises:
            KeyError: there is no such version.
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
        """The version that was read from the input."""
        return self.versions[0]

    @property
    def rivals(self) -> tuple[Version, ...]:
        """Rewrites of the current version that no choice has judged yet."""
        judged = {name for decision in self.decisions for name in decision.candidates}
        return tuple(v for v in self.versions if v.parent == self.kept and v.name not in judged)

    def adding(self, version: Version) -> Sample:
        """Return the sample with one more version.

        Raises:
            ValueError: a version of that name is there already.
        """
        return evolve(self, versions=(*self.versions, version))

    def deciding(self, decision: Decision) -> Sample:
        """Return the sample after a decision, whose kept version is now the current one."""
        return evolve(self, kept=decision.kept, decisions=(*self.decisions, decision))

    def scoring(self, scores: Mapping[Version, Mapping[str, Score]]) -> Sample:
        """Return the sample with more scores of its versions; scores of versions of other samples are ignored."""
        mine = {v.name: {**self.scores.get(v.name, {}), **scores[v]} for v in self.versions if v in scores}
        return evolve(self, scores={**self.scores, **mine}) if mine else self

    def failing(self, failure: Failure) -> Sample:
        """Return the sample with one more failure noted; nothing else changes."""
        return evolve(self, failures=(*self.failures, failure))


@frozen
class Dropped:
    """The end of a sample that is not kept."""

    sample: Sample
    """The sample as the stage left it."""
    reason: str
    """Explanation for the user. Samples are counted by it, so it should be the same for all samples of one cause."""


# --- selection --------------------------------------------------------------------------------


@frozen
class Scored:
    """A version with the scores that a selector asked for."""

    sample_id: str
    """Id of the sample."""
    row: int
    """Row number of the sample in the input, from 0."""
    _version: Version | Callable[[], Version]
    """The version, or a function that reads it."""
    scores: Mapping[str, Score]
    """Scores of the version, by metric."""
    _extra: Mapping[str, Any] | Callable[[], Mapping[str, Any]] = field(factory=dict, eq=False, repr=False)
    """Values of the columns that the selector reads besides the pair, or a function that reads them."""

    @property
    def extra(self) -> Mapping[str, Any]:
        """Values of the columns that the selector declares in ``columns``, by name; read at each access."""
        return self._extra() if callable(self._extra) else self._extra

    @property
    def version(self) -> Version:
        """The version with its texts. Versions of a data set are read again at each access and not kept in memory."""
        return self._version if isinstance(self._version, Version) else self._version()


@frozen
class Choice:
    """A selector's decision between the versions of one sample."""

    kept: str
    """Name of the version to keep."""
    reason: str
    """Explanation for the user."""


@frozen
class Verdict:
    """A selector's decision about one sample of a data set."""

    keep: bool
    """True if the sample is kept."""
    reason: str
    """Explanation for the user."""


# --- teacher calls ----------------------------------------------------------------------------


_TOKENS_A_MESSAGE = 16
"""Upper bound of the tokens that a provider adds around one message: role, separators, start of the answer."""


MOST_TOKENS = 10_000_000
"""Longest answer in tokens that may be asked for. No model gives more, and the price of so many tokens still fits the
integers that the ledger can store."""

MOST_TEMPERATURE = 100.0
"""Largest temperature that may be asked for. All tokens are practically equally likely long before it."""


@frozen
class Sampling:
    """Sampling parameters of an answer; :func:`rt_framework.teacher.asking.checked` tells which values may be sent."""

    temperature: float = 0.0
    """Temperature of the softmax; 0 always takes the likeliest token."""
    top_p: float = 1.0
    """Share of the probability from which tokens are drawn, the likeliest first."""
    max_tokens: int = 1024
    """Longest answer in tokens."""
    seed: int | None = None
    """Seed of the random draw, where the teacher takes one."""


@frozen
class Request:
    """A question to a teacher. Every field is sent or identifies the question; no field is secret."""

    reflection: str
    """Name of the question: usually the name under which the reflection is registered."""
    pair_hash: str
    """``Pair.hash`` of the pair that the question is about."""
    index: int
    """Index of the answer, from 0: *n* asks again after *n* unusable answers for this pair."""
    messages: tuple[Turn, ...]
    """The prompt."""
    sampling: Sampling
    """Sampling parameters of the answer."""
    schema: Mapping[str, Any] | None = None
    """JSON schema of the answer, where the teacher can enforce a schema."""
    draw: int = field(default=0, metadata=ADDED)
    """Number of the draw, from 0: each draw is another answer to the same question, in place of the first one."""

    @property
    def most_prompt_tokens(self) -> int:
        """Upper bound of the prompt's tokens: no tokenizer makes more tokens of a text than it has UTF-8 bytes."""
        texts = [turn.content for turn in self.messages]
        texts += [json.dumps(self.schema)] if self.schema is not None else []
        return sum(len(text.encode("utf-8", "replace")) + _TOKENS_A_MESSAGE for text in texts)


@frozen
class Usage:
    """Token counts of one call, as the provider states them."""

    prompt_tokens: int = 0
    """Tokens of the prompt."""
    completion_tokens: int = 0
    """Tokens of the answer."""


@frozen
class Reply:
    """A teacher's raw answer, which the ledger keeps for good, so that it can be parsed again at any time."""

    text: str
    """The answer."""
    finish_reason: str = "stop"
    """``stop``, ``length`` (cut off) or ``content_filter``, as OpenAI names them."""
    usage: Usage = Usage()
    """Token counts of the call."""
    model: str = ""
    """Name of the model that answered."""
    nano_dollars: int = 0
    """Cost in nano-dollars, rounded up."""
    note: str = ""
    """Token counts of the provider that were not believed, in words; empty where all were believed."""


@frozen
class Pending:
    """Progress of a batch that the provider is still working on."""

    done: int
    """Number of requests that have been answered."""
    total: int
    """Number of requests in the batch."""


@frozen
class Unparsed:
    """The verdict that an answer cannot be used, and the reason."""

    kind: str
    """Kind of the failure: a name in :data:`rt_framework.errors.KINDS`, such as ``format`` or ``empty``."""
    reason: str
    """Explanation for the user."""
