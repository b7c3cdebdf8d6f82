"""Quotas as providers count them: requests and tokens a minute, planned so that hardly a request is refused.

A provider refills a quota at a steady rate, and takes a burst up to some size. Both are followed here by a bucket: a
request is sent once the bucket holds what it will cost. Headers of answers state the rate. What they say is left is not
used: it was counted when the request came, which may be long before its answer. Refusals correct the size of the burst,
and then how much a request is thought to cost, since a provider may count in another way, or others use the quota too.
"""

from __future__ import annotations

import math
from collections import deque

from rt_framework.model import Quotas

_BURST = 10.0
"""Seconds of the rate that a bucket holds at the start. Many providers take more, and no rate is lost to it."""

_LEAST_BURST = 0.5
"""The same at least, after refusals."""

_DEARER, _CHEAPER, _DEAREST = 1.05, 0.9995, 10.0
"""Factors of the thought cost of a request, after a refusal and after each request that was accepted, and the most that
they come to."""

_KEPT = 256
"""Number of latest sizes from which the tokens of the next request are estimated."""


class Bucket:
    """Bucket of one quota, which holds as much of it as may be sent now.

    Args:
        per_minute: requests or tokens a minute; ``None`` as long as no limit is known.
        exact: True if what a request costs is known beforehand: requests count one each.
    """

    def __init__(self, per_minute: float | None, exact: bool = False) -> None:
        self._exact = exact
        self._rate = None if per_minute is None else per_minute / 60
        self._burst = _BURST
        self._level = self._most
        self._at: float | None = None
        self._thought = 1.0
        """Factor by which requests are thought to cost more than was estimated."""
        self._cut = -math.inf
        """Time of the last refusal that changed anything."""
        self._stated = False
        """True if the limit comes from answers, which may state another one later."""

    @property
    def known(self) -> bool:
        """True if there is a limit."""
        return self._rate is not None

    @property
    def per_minute(self) -> float:
        """The limit in requests or tokens a minute; infinite where none is known."""
        return math.inf if self._rate is None else self._rate * 60

    def due(self, cost: float, now: float) -> float:
        """Return the time at which a request of that cost may be sent."""
        if self._rate is None:
            return now
        self._refill(now)
        # A request that costs more than the bucket can ever hold goes when it is full.
        lacking = min(cost * self._thought, self._most) - self._level
        # A wait shorter than the clock can tell would never end.
        return now + lacking / self._rate if lacking > 1e-6 * self._most else now

    def take(self, cost: float, now: float) -> None:
        """Note that a request of that cost is sent."""
        if self._rate is not None:
            self._refill(now)
            self._level -= cost * self._thought

    def settle(self, estimate: float, cost: float) -> None:
        """Replace the estimated cost of a request that was accepted by its real cost."""
        if self._rate is not None:
            self._level = min(self._level + (estimate - cost) * self._thought, self._most)
            self._thought = max(1.0, self._thought * _CHEAPER)

    def told(self, per_minute: int | None, now: float) -> None:
        """Follow the limit that an answer states, if it states one and the user has set none."""
        if not per_minute or not (self._rate is None or self._stated):
            return
        if self._rate is None:
            self._rate = per_minute / 60
            # Requests were sent before the limit was known, so nothing is left of it.
            self._level, self._at = 0.0, now
        else:
            self._refill(now)
            self._rate = per_minute / 60
        self._stated = True

    def refused(self, sent: float, now: float) -> None:
        """Note that the provider refused a request for this quota: it takes smaller bursts, or counts more.

        Args:
            sent: time at which the request was sent. One from before the last refusal shows nothing new.
            now: time of the refusal.
        """
        if self._rate is None or sent < self._cut:
            return
        self._cut = now
        self._refill(now)
        if self._burst > _LEAST_BURST:
            self._burst = max(self._burst / 4, _LEAST_BURST)
        elif not self._exact:
            self._thought = min(self._thought * _DEARER, _DEAREST)
        self._level = min(self._level, 0.0)

    @property
    def _most(self) -> float:
        return 0.0 if self._rate is None else max(self._rate * self._burst, 1.0)

    def _refill(self, now: float) -> None:
        if self._rate is not None:
            passed = 0.0 if self._at is None else max(now - self._at, 0.0)
            self._level, self._at = min(self._level + passed * self._rate, self._most), now


class Buckets:
    """The quotas of requests and of tokens.

    Args:
        requests: requests a minute; ``None`` as long as no limit is known.
        tokens: tokens a minute, as *requests*.
    """

    def __init__(self, requests: float | None, tokens: float | None) -> None:
        self._requests = Bucket(requests, exact=True)
        self._tokens = Bucket(tokens)

    @property
    def known(self) -> bool:
        """True if one of them is known."""
        return self._requests.known or self._tokens.known

    def due(self, tokens: float, now: float) -> float:
        """Return the time at which a call of so many tokens may be sent."""
        return max(self._requests.due(1, now), self._tokens.due(tokens, now))

    def take(self, tokens: float, now: float) -> None:
        """Note that a call of so many tokens is sent."""
        self._requests.take(1, now)
        self._tokens.take(tokens, now)

    def accepted(self, estimate: float, tokens: int | None) -> None:
        """Note that a call was accepted that was estimated to cost so many tokens, and what it cost, if known."""
        self._requests.settle(1, 1)
        self._tokens.settle(estimate, estimate if tokens is None else tokens)

    def told(self, stated: Quotas, now: float) -> None:
        """Follow the limits that an answer states."""
        self._requests.told(stated.requests, now)
        self._tokens.told(stated.tokens, now)

    def refused(self, sent: float, now: float) -> None:
        """Note that a call was refused, for a quota that is not named."""
        self._requests.refused(sent, now)
        self._tokens.refused(sent, now)

    def described(self) -> str:
        """Return the known quotas in words; empty if there is none."""
        told = ((self._requests, "requests"), (self._tokens, "tokens"))
        return " and ".join(f"at most {quota.per_minute:,.0f} {what} a minute" for quota, what in told if quota.known)


class TokenEstimate:
    """Estimate of the tokens of a request and its answer, learned from the answers so far."""

    def __init__(self) -> None:
        self._per_byte: deque[float] = deque(maxlen=_KEPT)
        self._answers: deque[int] = deque(maxlen=_KEPT)

    def of(self, prompt_bytes: int, most_answer: int) -> float:
        """Return the tokens that a request will probably cost, answer included."""
        if not self._answers:
            return prompt_bytes / 4 + most_answer
        per_byte = sum(self._per_byte) / len(self._per_byte)
        return prompt_bytes * per_byte + min(sum(self._answers) / len(self._answers), most_answer)

    def learn(self, prompt_bytes: int, prompt_tokens: int, answer_tokens: int) -> None:
        """Note what an answer has cost."""
        if prompt_tokens > 0 and prompt_bytes > 0:
            self._per_byte.append(prompt_tokens / prompt_bytes)
            self._answers.append(answer_tokens)
