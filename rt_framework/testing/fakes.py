"""A fake student and fake teachers that need no model: fast, deterministic, and with counts of their calls."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from attrs import evolve

from rt_framework.errors import TeacherError, Unscorable
from rt_framework.kit.turn_texts import TurnTexts
from rt_framework.model import Reply, Request, Turn, Usage
from rt_framework.spans import EncodedSpan, Span, SpanLoss, only_scored


class FakeStudent:
    """A student whose loss of a token is a hash of the tokens before it: between 0 and 4 nats.

    Tokens are words. Its chat template writes the texts of messages one after the other, without roles, with reasoning
    in ``<think>`` tags and calls of tools as JSON. ``forward_passes`` counts the calls of :meth:`score`,
    ``forward_spans`` the spans in them. Its answers are those of :func:`rewriting`, and ``requests`` has every request.
    """

    fingerprint = "fake-student-1"
    structured = True
    reads_turns = True

    def __init__(self) -> None:
        self.forward_passes = 0
        self.forward_spans = 0
        self.requests: list[Request] = []
        self._turns = TurnTexts(_rendered)

    def encode(self, spans: Sequence[Span]) -> list[EncodedSpan | SpanLoss]:
        """Encode each word as one token; an empty target has the status ``empty``. Only spans limit the length."""
        return [self._encode(span) for span in spans]

    def score(self, batch: Sequence[EncodedSpan]) -> list[SpanLoss]:
        """Return for each span the sum of its target tokens' losses."""
        self.forward_passes += 1
        self.forward_spans += len(batch)
        return [self._loss(span) for span in batch]

    def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answer each request by itself."""
        self.requests += requests
        return [Reply(rewriting(request), usage=Usage(10, 10), model=self.fingerprint) for request in requests]

    def embed(self, batch: Sequence[EncodedSpan]) -> list[list[float]]:
        """Return for each span the mean of its target tokens' vectors, each made of a hash of the token."""
        targets = [[span.ids[position] for position in span.positions] for span in batch]
        return [[sum(part) / len(ids) for part in zip(*map(_direction, ids), strict=True)] for ids in targets]

    def _loss(self, span: EncodedSpan) -> SpanLoss:
        nll = [nats(span.ids[: position + 1]) for position in span.positions]
        loss = SpanLoss(sum(nll), len(nll))
        return evolve(loss, token_nll=tuple(nll), token_ranks=tuple(map(rank, nll))) if span.by_token else loss

    def _encode(self, span: Span) -> EncodedSpan | SpanLoss:
        try:
            span = self._turns.as_text(span)
        except Unscorable as error:
            return SpanLoss(None, 0, error.status, error.reason)
        text = str(span.target)
        before, target = _words(self._turns.context(span.context)), _words(text)
        if not target:
            return SpanLoss(None, 0, "empty", "the target is empty")
        # A sequence's first token has no prediction. With join "ids" the paired pass leaves the same token out.
        paired_context = before
        if span.paired_context is not None and span.join == "ids":
            paired_context = _words(self._turns.context(span.paired_context))
        room = len(target) if span.max_tokens is None else span.max_tokens - max(len(before), len(paired_context))
        if room < 1:
            return SpanLoss(None, 0, "no_room", f"the context takes all {span.max_tokens} tokens")
        cut = max(len(target) - room, 0)
        target = target[:room]
        skipped = 0 if (before and paired_context) or span.count_only else 1
        if skipped == len(target):
            return SpanLoss(None, 0, "too_short", "one token with nothing before it: no prediction to score")
        encoded = EncodedSpan((*before, *target), len(before) + skipped, span.count_only, span.by_token, cut)
        places = [word.start() for word in re.finditer(r"\S+", text)] if span.scored is not None else []
        return only_scored(span, encoded, places, len(before))


class ScriptedTeacher:
    """A teacher whose answers are a function of the request.

    Args:
        answer: returns a text or a whole reply, or raises :class:`rt_framework.TeacherError`.
        structured: whether requests carry a JSON schema.
    """

    identity = "scripted"

    def __init__(self, answer: Callable[[Request], str | Reply], structured: bool = True) -> None:
        self.structured = structured
        self.requests: list[Request] = []
        self._answer = answer

    async def complete(self, request: Request) -> Reply:
        """Answer the request, and record it in ``requests``."""
        self.requests.append(request)
        answer = self._answer(request)
        return answer if isinstance(answer, Reply) else Reply(answer, usage=Usage(10, 10), model=self.identity)


class FailingTeacher(ScriptedTeacher):
    """A scripted teacher whose first *times* attempts fail.

    Args:
        kind: kind of the failures, see :data:`rt_framework.errors.KINDS`.
        times: number of failing attempts; -1 for all.
        answer: as for :class:`ScriptedTeacher`.
    """

    def __init__(self, kind: str, times: int = -1, answer: Callable[[Request], str | Reply] | None = None) -> None:
        super().__init__(answer or rewriting)
        self._kind, self._times = kind, times

    async def complete(self, request: Request) -> Reply:
        """Fail or answer, by the number of earlier attempts."""
        if self._times < 0 or len(self.requests) < self._times:
            self.requests.append(request)
            raise TeacherError(self._kind, f"attempt {len(self.requests)} was to fail")
        return await super().complete(request)


class SlowTeacher(ScriptedTeacher):
    """A scripted teacher that takes *seconds* for each answer. ``under_way`` is the number of calls in progress."""

    def __init__(self, seconds: float, answer: Callable[[Request], str | Reply] | None = None) -> None:
        super().__init__(answer or rewriting)
        self._seconds = seconds
        self.under_way = 0

    async def complete(self, request: Request) -> Reply:
        """Wait, then answer."""
        self.under_way += 1
        try:
            await asyncio.sleep(self._seconds)
            return await super().complete(request)
        finally:
            self.under_way -= 1


def rewriting(request: Request) -> str:
    """Return a well-formed structured answer that depends only on the reflection and the pair."""
    subject = f"{request.reflection} {request.pair_hash[:8]}"
    parts = {
        "critique": f"Seen: {subject}.",
        "instruction": f"Explain the matter of {subject}.",
        "response": f"The answer to {subject} is long.",
    }
    wanted = (request.schema or {}).get("properties", parts)
    return json.dumps({name: parts.get(name) or _value(name, subject, wanted[name]) for name in wanted})


def _value(name: str, subject: str, schema: Mapping[str, Any]) -> Any:
    """Return a value for a part of another name: one of those that the schema lists, or a text.

    Raises:
        KeyError, TypeError: the part is neither.
    """
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] != "string":
        raise TypeError(f"{name} is no text")
    return f"The {name} of {subject}."


def _rendered(turns: Sequence[Turn], tools: Sequence[str], answering: bool) -> str:  # noqa: ARG001 - it has no roles
    return " ".join([*tools, *map(_written, turns)])


def _written(turn: Turn) -> str:
    thoughts = [] if turn.reasoning is None else [f"<think> {turn.reasoning} </think>"]
    return " ".join(filter(None, (*thoughts, turn.content, *(call.text for call in turn.tool_calls))))


def _words(text: str) -> tuple[int, ...]:
    return tuple(map(_word, text.split()))


@lru_cache(maxsize=65536)
def _word(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4).digest())


def rank(loss: float) -> int:
    """Return a rank from 1 to 55: the less likely the token, the higher its rank."""
    return math.ceil(math.exp(loss))


@lru_cache(maxsize=65536)
def _direction(token: int) -> tuple[float, ...]:
    """Return a vector of 8 numbers from -1 to 1."""
    return tuple(byte / 127.5 - 1 for byte in hashlib.blake2b(str(token).encode(), digest_size=8).digest())


def nats(ids: Sequence[int], weights: str = "") -> float:
    """Return the loss of the last of these tokens, from 0 to 4 nats, by weights that a text stands for."""
    text = weights + ",".join(map(str, ids))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) / 2**30
