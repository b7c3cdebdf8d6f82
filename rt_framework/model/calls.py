"""Questions to a teacher, and its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from attrs import evolve, field, frozen

from rt_framework.model.digests import ADDED, canonical, keyed
from rt_framework.model.pairs import Turn

TOKENS_A_MESSAGE = 16
"""Upper bound of the tokens that a provider adds around one message: role, separators, start of the answer."""


def most_tokens(text: str) -> int:
    """Return an upper bound of the tokens of a message: no tokenizer makes more of a text than it has UTF-8 bytes."""
    return len(text.encode("utf-8", "replace")) + TOKENS_A_MESSAGE


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
    step: int = field(default=0, metadata=ADDED)
    """Number of answers of this conversation that the prompt holds: 0 for the first request. Core sets it."""

    def then(self, reply: Reply, text: str) -> Request:
        """Return the request that goes on with this conversation: its *reply*, then *text* as the user's next turn."""
        going_on = (*self.messages, Turn("assistant", reply.text), Turn("user", text))
        return evolve(self, messages=going_on, step=self.step + 1)

    @property
    def said(self) -> tuple[str, ...]:
        """The teacher's earlier answers in this conversation, oldest first; none in the first request."""
        answers = [turn.content for turn in self.messages if turn.role == "assistant"]
        return tuple(answers[max(len(answers) - self.step, 0) :])

    @cached_property
    def canonical(self) -> str:
        """The request as canonical JSON, from which its key is made."""
        return canonical(keyed(self))

    @cached_property
    def most_prompt_tokens(self) -> int:
        """Upper bound of the prompt's tokens."""
        texts = [turn.content for turn in self.messages]
        texts += [json.dumps(self.schema)] if self.schema is not None else []
        return sum(map(most_tokens, texts))


@frozen
class Quotas:
    """The quotas that a provider states beside an answer; ``None`` where it states none."""

    requests: int | None = None
    """Requests a minute."""
    tokens: int | None = None
    """Tokens a minute, answers included."""


@frozen
class Usage:
    """Token counts of one call, as the provider states them."""

    prompt_tokens: int = 0
    """Tokens of the prompt."""
    completion_tokens: int = 0
    """Tokens of the answer, its reasoning included."""
    cached_tokens: int = 0
    """Tokens of the prompt that were read from the provider's cache."""
    cache_write_tokens: int = 0
    """Tokens of the prompt that were written to the provider's cache."""
    reasoning_tokens: int = 0
    """Tokens of the answer that are reasoning."""


@frozen
class Charge:
    """The parts of an answer's cost, in nano-dollars; they add up to the cost."""

    prompt: int = 0
    """Prompt tokens that were neither read from a cache nor written to one."""
    cached: int = 0
    """Prompt tokens read from the cache."""
    cache_write: int = 0
    """Prompt tokens written to the cache."""
    answer: int = 0
    """Answer tokens without the reasoning."""
    reasoning: int = 0
    """Reasoning tokens."""
    cache_saving: int = 0
    """Amount by which the same tokens would be dearer without a cache, which is no part of the cost. It is negative
    where writing to the cache costs more than reading from it saved."""
    batch_saving: int = 0
    """Amount by which the same tokens would be dearer outside a batch, which is no part of the cost."""

    @property
    def total(self) -> int:
        """The sum of the parts: the cost."""
        return self.prompt + self.cached + self.cache_write + self.answer + self.reasoning

    @property
    def saved(self) -> int:
        """Amount by which the same tokens would be dearer without cache and batch."""
        return self.cache_saving + self.batch_saving


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
    charge: Charge | None = field(default=None, metadata=ADDED)
    """Parts of the cost; ``None`` where the teacher does not tell them."""
    reasoning: str | None = field(default=None, metadata=ADDED)
    """The model's reasoning before the answer; ``None`` where the provider does not give it."""

    @property
    def all_reasoning(self) -> bool:
        """True if reasoning took up all tokens, so that no answer was written."""
        thought = self.usage.reasoning_tokens > 0 or self.reasoning is not None
        return self.finish_reason == "length" and not self.text.strip() and thought


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
