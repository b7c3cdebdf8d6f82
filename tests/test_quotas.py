"""Requests planned by the quotas that providers count, requests and tokens a minute, on a clock that runs ahead."""

from __future__ import annotations

import asyncio
import random
from xml.etree import ElementTree

import pytest
from attrs import define, field

from benchmarks.graph import Line, Panel, draw
from benchmarks.provider import PROVIDERS, TOKENS, Buckets
from benchmarks.quotas import measured
from rt_framework.builtin.teachers.litellm import LiteLLMTeacher
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.builtin.teachers.usage import stated_quotas
from rt_framework.concurrency import AdaptiveLimiter, StopSignal, TokenEstimate
from rt_framework.config import Limits
from rt_framework.model import Quotas
from rt_framework.testing import Fault, FaultServer, ScriptedTeacher
from rt_framework.testing.wire import tokens
from tests.helpers import REPO
from tests.run_helpers import answers_of, request
from tests.test_pace import simulated

SECONDS = 600


@define
class Provider:
    """A provider with token buckets that refuses what its quotas do not hold, and counts what it took and refused.

    It counts a request when it arrives: the prompt, and the answer as long as it may be or as it will be.
    """

    requests: float
    tokens: float
    burst: float
    """Seconds of the rate that the buckets hold."""
    by_most: bool
    """Whether the longest answer is counted, as it may be, instead of the answer."""
    levels: list[float] = field(factory=list)
    at: float = 0.0
    taken: list[tuple[float, float]] = field(factory=list)
    refused: int = 0

    def take(self, prompt: int, answer: int, most: int) -> bool:
        now = asyncio.get_running_loop().time()
        rates = (self.requests / 60, self.tokens / 60)
        self.levels = self.levels or [max(rate * self.burst, 1) for rate in rates]
        passed, self.at = now - self.at, now
        self.levels = [
            min(level + passed * rate, max(rate * self.burst, 1))
            for level, rate in zip(self.levels, rates, strict=True)
        ]
        cost = prompt + (most if self.by_most else answer)
        if self.levels[0] < 1 or self.levels[1] < cost:
            self.refused += 1
            return False
        self.levels = [self.levels[0] - 1, self.levels[1] - cost]
        self.taken.append((now, cost))
        return True

    def stated(self) -> Quotas:
        return Quotas(int(self.requests), int(self.tokens))


async def ask(provider: Provider, limiter: AdaptiveLimiter, headers: bool, seed: int, at_once: int = 64) -> None:
    """Ask for ten minutes, as the sender of a teacher does; a refused request waits a second and is sent again."""
    source, estimate = random.Random(seed), TokenEstimate()
    most = 800

    async def worker() -> None:
        while True:
            prompt, answer = source.randrange(100, 2500), source.randrange(40, most)
            while True:
                async with limiter.turn(estimate.of(prompt * 4, most)) as sent:
                    await asyncio.sleep(0.05)
                    took = provider.take(prompt, answer, most)
                    stated = provider.stated() if headers else None
                    if took:
                        await asyncio.sleep(answer / 100)
                        limiter.accepted(stated)
                        limiter.used(sent, prompt + answer)
                        estimate.learn(prompt * 4, prompt, answer)
                        break
                    limiter.refused(sent, too_often=True, retry_after=None, stated=stated)
                await asyncio.sleep(1 + source.random() / 4)

    workers = [asyncio.create_task(worker()) for _ in range(at_once)]
    await asyncio.sleep(SECONDS)
    for one in workers:
        one.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


@pytest.mark.parametrize("headers", [True, False], ids=["headers", "config"])
@pytest.mark.parametrize("by_most", [False, True], ids=["answer", "max_tokens"])
@pytest.mark.parametrize(
    ("requests", "tokens", "burst"),
    [(1e6, 60_000, 60), (1e6, 60_000, 5), (1e6, 400_000, 1), (120, 1e9, 60), (120, 1e9, 1), (90, 150_000, 20)],
)
def test_a_quota_is_nearly_used_and_hardly_exceeded(requests, tokens, burst, by_most, headers):
    """At least 85 % of the tighter quota over the time after the first minute, and at most 5 % of requests refused."""
    provider = Provider(requests, tokens, burst, by_most)

    async def run() -> None:
        known = {} if headers else {"requests": requests, "tokens": tokens}
        await ask(provider, AdaptiveLimiter(64, StopSignal(), **known, careful=headers), headers, seed=1)

    simulated(run())
    late = [cost for at, cost in provider.taken if at > 60]
    used = max(len(late) / requests, sum(late) / tokens) * 60 / (SECONDS - 60)
    sent = len(provider.taken) + provider.refused
    assert used >= 0.85 and provider.refused <= 0.05 * sent, (used, provider.refused / sent)


# --- from a provider's headers, and from the config -------------------------------------------


@pytest.mark.parametrize(
    ("headers", "model", "expected"),
    [
        ({"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "30000"}, "openai/any", (500, 30_000)),
        ({"anthropic-ratelimit-requests-limit": "50"}, "anthropic/any", (50, None)),
        ({"anthropic-ratelimit-tokens-limit": "80000"}, "anthropic/any", (None, 80_000)),
        ({"x-ratelimit-limit-requests": "14400", "x-ratelimit-limit-tokens": "6000"}, "groq/any", (None, 6000)),
        ({"x-ratelimit-limit-requests": "0", "x-ratelimit-limit-tokens": "many"}, "openai/any", (None, None)),
        ({"x-ratelimit-limit-tokens": "-5", "x-ratelimit-limit-requests": "9" * 400}, "openai/any", (None, None)),
        ({}, "openai/any", (None, None)),
    ],
)
def test_headers_are_read_as_the_providers_document_them(headers, model, expected):
    """A header that is no number, or none that can be meant, states nothing; what was stated before stays."""
    assert stated_quotas(headers, model, Quotas()) == Quotas(*expected)
    assert stated_quotas({}, model, Quotas(7, 8)) == Quotas(7, 8)


async def test_a_provider_is_asked_by_the_quotas_that_it_states(ledger, monkeypatch):
    """Through litellm and HTTP: the first answer states them, also where it is a refusal."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    first = Fault("rate_limit", "0")
    with FaultServer(lambda _: "An answer.", lambda number, _: first if number == 0 else None) as server:
        server.headers = (("x-ratelimit-limit-requests", "600"), ("x-ratelimit-limit-tokens", "60000"))
        teacher = LiteLLMTeacher(LiteLLMSettings("openai/any", api_base=server.url, structured=False))
        answers = answers_of(teacher, ledger, Limits())
        assert "a minute" not in answers.sending.counts().throttled
        reply = await answers.answer(request(0), True)
        assert reply.reply is not None and reply.reply.text == "An answer."
        assert teacher.quotas == Quotas(600, 60_000)
        assert answers.sending.counts().throttled == "at most 600 requests a minute and at most 60,000 tokens a minute"
        await answers.close()


async def test_the_config_sets_the_quotas(ledger):
    """They are known before the first question, and what answers state changes nothing."""
    teacher = ScriptedTeacher(lambda _: "An answer.")
    teacher.quotas = Quotas(5, 5)
    answers = answers_of(teacher, ledger, Limits(requests_per_minute=600))
    assert answers.sending.counts().throttled == "at most 600 requests a minute"
    await answers.answer(request(0), True)
    assert answers.sending.counts().throttled == "at most 600 requests a minute and at most 5 tokens a minute"
    await answers.close()


# --- the benchmark ------------------------------------------------------------------------------


def body(words: int) -> dict[str, object]:
    """A request of so many tokens, as it arrives at a server."""
    return {"messages": [{"role": "user", "content": "word" * words}]}


def test_the_provider_of_the_benchmark_refuses_what_its_buckets_do_not_hold():
    """A burst is taken, what follows is refused with the time until it fits; only the tighter quota is counted."""
    provider = next(one for one in PROVIDERS if one.bound == "tokens" and one.by_most and one.burst == 1)
    buckets = Buckets(provider, says_when=True)
    held = TOKENS // 60
    assert buckets(0, body(held - 400 - 100)) is None
    assert buckets(1, body(3 * held)).retry_after in ("3", "4")
    assert Buckets(provider, says_when=False)(2, body(3 * held)).retry_after is None
    seen = buckets.seen()
    assert seen.taken == [(0.0, held - 100)]
    assert seen.used(provider, 0, 2) == pytest.approx((held - 100) / (2 * held))
    assert seen.share_refused == 0.5


def test_the_benchmark_asks_through_the_real_path(monkeypatch):
    """Both servers of a provider are asked over HTTP by litellm, and each tells what it saw."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    provider = next(one for one in PROVIDERS if one.bound == "tokens" and not one.by_most)
    found = measured(provider, seconds=1)
    assert list(found) == ["headers", "config"]
    for seen in found.values():
        assert len(seen.taken) > 3
        assert all(cost > tokens("word" * 50) for _, cost in seen.taken)


def test_the_graph_is_a_picture_that_loads_nothing():
    """It has its own ground, so that it can be read on a light page and on a dark one; a high share stays inside."""
    line = Line("from <headers>", [(1.0, 0.5), (3.0, 9.0)], [2.0])
    drawn = draw([Panel("600 & more", [line, line])], 4)
    root = ElementTree.fromstring(drawn)
    assert root.find("{*}rect").get("fill") == "#fff"
    assert {one.text for one in root.findall(".//{*}text")} >= {"600 & more", "quota known from <headers>", "4 s"}
    heights = [
        float(point.split(",")[1]) for one in root.findall(".//{*}polyline") for point in one.get("points").split()
    ]
    assert min(heights) == 30
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


def test_the_picture_on_the_page_is_of_these_providers():
    """A provider that is added or changed is measured and drawn anew."""
    root = ElementTree.parse(REPO / "docs" / "pictures" / "quotas.svg")
    titles = {one.text for one in root.findall(".//{*}text") if one.get("font-weight") == "bold"}
    assert titles == {str(provider) for provider in PROVIDERS}
