"""Providers on 127.0.0.1 that enforce quotas of requests and tokens in real time, each in a process of its own."""

from __future__ import annotations

import math
import multiprocessing
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Literal

from attrs import frozen

from rt_framework.model import digest
from rt_framework.testing.server import Fault, FaultServer
from rt_framework.testing.wire import tokens

REQUESTS, TOKENS = 600, 240_000
"""Requests and tokens a minute, about ten calls a second; the other quota is a hundred times as large."""

MOST_ANSWER = 400
"""The ``max_tokens`` of a request."""


@frozen
class Provider:
    """The quotas of a provider."""

    bound: Literal["requests", "tokens"]
    """The quota that is reached first."""
    burst: float
    """Seconds of the rate that its buckets hold."""
    by_most: bool = False
    """Whether it counts ``max_tokens`` when a request arrives, as the longest answer, instead of the answer."""

    @property
    def per_minute(self) -> tuple[int, int]:
        """Requests and tokens."""
        return (REQUESTS, 100 * TOKENS) if self.bound == "requests" else (100 * REQUESTS, TOKENS)

    def __str__(self) -> str:
        quota = f"{REQUESTS:,} requests" if self.bound == "requests" else f"{TOKENS:,} tokens"
        return f"{quota} a minute, bursts of {self.burst:g} s{', counts max_tokens' if self.by_most else ''}"


PROVIDERS = (
    *(Provider("requests", burst) for burst in (1, 60)),
    *(Provider("tokens", burst, by_most) for by_most in (False, True) for burst in (1, 60)),
)


@frozen
class Seen:
    """The requests that a server has seen."""

    taken: Sequence[tuple[float, float]]
    """Time in seconds since the first request, and cost in units of the tighter quota, of each that it took."""
    refused: Sequence[float]
    """Time of each that it refused."""

    def used(self, provider: Provider, since: float, until: float) -> float:
        """Share of the tighter quota that was used in a time."""
        rate = (REQUESTS if provider.bound == "requests" else TOKENS) / 60
        return sum(cost for at, cost in self.taken if since <= at < until) / (rate * (until - since))

    @property
    def share_refused(self) -> float:
        """Share of all requests that were refused, from the first one on."""
        return len(self.refused) / (len(self.refused) + len(self.taken))


class Buckets:
    """The buckets of a provider, as the faults of a server.

    Args:
        provider: its quotas.
        says_when: whether a refusal has a ``Retry-After``, in whole seconds.
    """

    def __init__(self, provider: Provider, says_when: bool) -> None:
        self._provider = provider
        self._says_when = says_when
        self._rates = [quota / 60 for quota in provider.per_minute]
        self._levels = [rate * provider.burst for rate in self._rates]
        self._at = time.monotonic()
        self._lock = threading.Lock()
        self.taken: list[tuple[float, float]] = []
        self.refused: list[float] = []

    def __call__(self, _number: int, body: dict[str, Any]) -> Fault | None:
        """Take a request, or refuse it."""
        answer = MOST_ANSWER if self._provider.by_most else tokens(answered(body))
        costs = (1, sum(tokens(turn["content"]) for turn in body["messages"]) + answer)
        with self._lock:
            now = time.monotonic()
            for which, rate in enumerate(self._rates):
                full = rate * self._provider.burst
                self._levels[which] = min(self._levels[which] + (now - self._at) * rate, full)
            self._at = now
            lacking = [cost - level for cost, level in zip(costs, self._levels, strict=True)]
            if max(lacking) > 0:
                self.refused.append(now)
                wait = max(lack / rate for lack, rate in zip(lacking, self._rates, strict=True))
                return Fault("rate_limit", str(math.ceil(wait)) if self._says_when else None)
            self._levels = [level - cost for cost, level in zip(costs, self._levels, strict=True)]
            self.taken.append((now, costs[self._provider.bound == "tokens"]))
            return None

    def seen(self) -> Seen:
        """Return what was seen, in seconds since the first request."""
        began = min([at for at, _ in self.taken] + self.refused)
        return Seen([(at - began, cost) for at, cost in self.taken], [at - began for at in self.refused])


def answered(body: dict[str, Any]) -> str:
    """Return an answer of 10 to 300 tokens that depends on the question."""
    return "word" * (10 + int(digest(body["messages"])[:8], 16) % 290)


def answer_slowly(body: dict[str, Any]) -> str:
    """Return the answer after a time that grows with its length: a quarter of a second to 1.7 s."""
    text = answered(body)
    time.sleep(0.2 + tokens(text) / 200)
    return text


def serve(pipe: Connection, provider: Provider, states: bool) -> None:
    """Serve until the pipe says so, and send what was seen."""
    buckets = Buckets(provider, says_when=states)
    with FaultServer(answer_slowly, buckets) as server:
        requests, of_tokens = map(str, provider.per_minute)
        if states:
            server.headers = (("x-ratelimit-limit-requests", requests), ("x-ratelimit-limit-tokens", of_tokens))
        pipe.send(server.url)
        pipe.recv()
    pipe.send(buckets.seen())


@contextmanager
def serving(provider: Provider, states: bool) -> Iterator[Connection]:
    """Start a server and yield the pipe, which gives its address, and what it saw once it has got a word."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, provider, states), daemon=True)
    process.start()
    try:
        yield here
    finally:
        process.join()
