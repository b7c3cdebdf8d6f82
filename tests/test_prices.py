"""The cost of an answer: recorded usages of many providers, by their documented prices, part by part."""

from __future__ import annotations

import asyncio
import json

import pytest
from attrs import evolve

from rt_framework.builtin.teachers.litellm import LiteLLMTeacher
from rt_framework.builtin.teachers.litellm import _litellm as litellm
from rt_framework.builtin.teachers.prices import Prices, Rates
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.builtin.teachers.usage import counted, told_in
from rt_framework.errors import ConfigError
from rt_framework.model import Charge, Reply, Request, Sampling, Turn, Usage
from rt_framework.testing.attacks import Attack, placed
from rt_framework.testing.server import FaultServer
from rt_framework.testing.wire import RawAnswer

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

REQUEST = Request("echo", "pair", 0, (Turn("user", "What floats?"),), Sampling(max_tokens=4096))

USAGES = {
    "OpenAI": (
        "gpt-4o-mini",
        {
            "usage": {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "total_tokens": 2306,
                "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0, "accepted_prediction_tokens": 0},
            }
        },
        Usage(2006, 300, 1920, 0, 0),
        # $0.15, $0.075 and $0.60 per million
        Charge(prompt=86 * 150, cached=1920 * 75, answer=300 * 600, cache_saving=1920 * 75),
    ),
    "OpenAI, a model that thinks": (
        "openai/o3",
        {
            "usage": {
                "prompt_tokens": 500,
                "completion_tokens": 1000,
                "total_tokens": 1500,
                "prompt_tokens_details": {"cached_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 832},
            }
        },
        Usage(500, 1000, 0, 0, 832),
        # $2 and $8
        Charge(prompt=500 * 2000, answer=168 * 8000, reasoning=832 * 8000),
    ),
    "Anthropic": (
        "anthropic/claude-sonnet-4-5",
        {
            "usage": {
                "input_tokens": 50,
                "cache_creation_input_tokens": 1100,
                "cache_read_input_tokens": 2000,
                "cache_creation": {"ephemeral_5m_input_tokens": 1100, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 400,
                "service_tier": "standard",
            }
        },
        Usage(3150, 400, 2000, 1100, 0),
        # $3, $0.30, $3.75 and $15
        Charge(50 * 3000, 2000 * 300, 1100 * 3750, 400 * 15000, cache_saving=2000 * 2700 - 1100 * 750),
    ),
    "Google": (
        "gemini/gemini-2.5-pro",
        {
            "usageMetadata": {
                "promptTokenCount": 3000,
                "cachedContentTokenCount": 2048,
                "candidatesTokenCount": 200,
                "thoughtsTokenCount": 900,
                "totalTokenCount": 4100,
            }
        },
        Usage(3000, 1100, 2048, 0, 900),
        # $1.25, $0.125 and $10
        Charge(952 * 1250, 2048 * 125, 0, 200 * 10000, 900 * 10000, cache_saving=2048 * 1125),
    ),
    "DeepSeek": (
        "deepseek/deepseek-chat",
        {
            "usage": {
                "prompt_tokens": 1000,
                "completion_tokens": 100,
                "total_tokens": 1100,
                "prompt_cache_hit_tokens": 640,
                "prompt_cache_miss_tokens": 360,
            }
        },
        Usage(1000, 100, 640, 0, 0),
        # $0.28, $0.028 and $0.42
        Charge(360 * 280, 640 * 28, 0, 100 * 420, cache_saving=640 * 252),
    ),
    "xAI, which counts reasoning apart": (
        "o3",  # litellm knows no price of a model of xAI offline; the form is what counts here
        {
            "usage": {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 450,
                "completion_tokens_details": {"reasoning_tokens": 300},
            }
        },
        Usage(100, 350, 0, 0, 300),
        Charge(prompt=100 * 2000, answer=50 * 8000, reasoning=300 * 8000),
    ),
    "Mistral": (
        "mistral/mistral-large-latest",
        {"usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}},
        Usage(100, 50),
        # $0.50 and $1.50
        Charge(prompt=100 * 500, answer=50 * 1500),
    ),
    "Azure": (
        "azure/gpt-4o",
        {
            "usage": {
                "prompt_tokens": 1500,
                "completion_tokens": 10,
                "total_tokens": 1510,
                "prompt_tokens_details": {"cached_tokens": 1024},
            }
        },
        Usage(1500, 10, 1024),
        # $2.50, $1.25 and $10
        Charge(476 * 2500, 1024 * 1250, 0, 10 * 10000, cache_saving=1024 * 1250),
    ),
    "Groq": (
        "groq/openai/gpt-oss-120b",
        {
            "usage": {
                "queue_time": 0.01,
                "prompt_tokens": 400,
                "completion_tokens": 90,
                "total_tokens": 490,
                "prompt_tokens_details": {"cached_tokens": 256},
                "completion_tokens_details": {"reasoning_tokens": 60},
            }
        },
        Usage(400, 90, 256, 0, 60),
        # $0.15, $0.075 and $0.60
        Charge(144 * 150, 256 * 75, 0, 30 * 600, 60 * 600, cache_saving=256 * 75),
    ),
    "Bedrock": (
        "bedrock/anthropic.claude-3-5-haiku-20241022-v1:0",
        {
            "usage": {
                "inputTokens": 10,
                "outputTokens": 20,
                "cacheReadInputTokens": 3000,
                "cacheWriteInputTokens": 0,
                "totalTokens": 3030,
            }
        },
        Usage(3010, 20, 3000),
        # $0.80, $0.08 and $4
        Charge(10 * 800, 3000 * 80, 0, 20 * 4000, cache_saving=3000 * 720),
    ),
}
"""By provider: model, body of an answer, the tokens in it, and what they cost by the provider's price list."""

OTHER_FORMS = {
    "Cohere": (
        {"usage": {"billed_units": {"input_tokens": 20, "output_tokens": 9}, "tokens": {"input_tokens": 211}}},
        Usage(20, 9),
    ),
    "Moonshot": (
        {"usage": {"prompt_tokens": 90, "completion_tokens": 9, "total_tokens": 99, "cached_tokens": 64}},
        Usage(90, 9, 64),
    ),
    "OpenRouter": (
        {
            "usage": {
                "prompt_tokens": 90,
                "completion_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 80},
            }
        },
        Usage(90, 9, 4, 80),
    ),
    "OpenAI's API of responses": (
        {
            "usage": {
                "input_tokens": 90,
                "input_tokens_details": {"cached_tokens": 64},
                "output_tokens": 30,
                "output_tokens_details": {"reasoning_tokens": 20},
                "total_tokens": 120,
            }
        },
        Usage(90, 30, 64, 0, 20),
    ),
}


def read(body: object) -> Usage:
    got = counted(REQUEST, "A cork.", told_in(json.dumps(body).encode()), 4096)
    assert not got.note
    assert got.told == got.charged
    return got.charged


@pytest.mark.parametrize("name", USAGES)
def test_a_recorded_usage_costs_the_documented_price(name):
    """To the nano-dollar, for each part."""
    model, body, tokens, charge = USAGES[name]
    assert read(body) == tokens
    rates = Prices(LiteLLMSettings(model), litellm).rates(tokens.prompt_tokens, False)
    assert rates is not None
    assert rates.charge(tokens, rates) == charge


@pytest.mark.parametrize("name", OTHER_FORMS)
def test_the_forms_of_further_apis_are_read(name):
    body, tokens = OTHER_FORMS[name]
    assert read(body) == tokens


@pytest.mark.parametrize("name", USAGES)
def test_the_cost_is_the_one_that_litellm_computes(name):
    """From its own reading of the same usage, with its own arithmetic."""
    model, _, tokens, charge = USAGES[name]
    types = litellm().types.utils
    usage = types.Usage(
        prompt_tokens=tokens.prompt_tokens,
        completion_tokens=tokens.completion_tokens,
        prompt_tokens_details=types.PromptTokensDetailsWrapper(
            cached_tokens=tokens.cached_tokens, cache_creation_tokens=tokens.cache_write_tokens
        ),
        completion_tokens_details=types.CompletionTokensDetailsWrapper(
            reasoning_tokens=tokens.reasoning_tokens,
            text_tokens=tokens.completion_tokens - tokens.reasoning_tokens,
        ),
        cache_read_input_tokens=tokens.cached_tokens,
        cache_creation_input_tokens=tokens.cache_write_tokens,
    )
    theirs = sum(litellm().cost_per_token(model, tokens.prompt_tokens, tokens.completion_tokens, usage_object=usage))
    assert charge.total == pytest.approx(theirs * 1e9, abs=1)


def test_long_prompts_are_dearer():
    """The whole call, where its prompt is longer than the provider's limit for the lower price."""
    prices = Prices(LiteLLMSettings("gemini/gemini-2.5-pro"), litellm)
    short, long = prices.rates(200_000, False), prices.rates(200_001, False)
    assert (short.prompt, short.answer) == (1250, 10_000)
    assert (long.prompt, long.answer, long.cached) == (2500, 15_000, 250)


def test_a_batch_costs_half_and_says_what_it_saved():
    """Also of a cached prompt, unless the provider's list has a price of its own for it."""
    prices = Prices(LiteLLMSettings("anthropic/claude-sonnet-4-5"), litellm)
    used = Usage(1000, 100, 400)
    batch, live = prices.rates(1000, True), prices.rates(1000, False)
    charge = batch.charge(used, live)
    assert charge == Charge(600 * 1500, 400 * 150, 0, 100 * 7500, 0, 400 * 1350, charge.total)
    assert live.charge(used, live).total == 2 * charge.total
    listed = Prices(LiteLLMSettings("gpt-4o-mini"), litellm).rates(1000, True)
    assert (listed.prompt, listed.cached, listed.answer) == (75, 75, 300)


def test_a_service_tier_has_its_own_price():
    """The tier in which the provider says that it answered; the reservation is for the usual one."""
    prices = Prices(LiteLLMSettings("openai/o3"), litellm)
    assert [prices.rates(1, False, tier).prompt for tier in ("flex", None, "priority", "unheard-of")] == [
        *(1000, 2000, 3500, 2000)
    ]
    flexible = LiteLLMTeacher(LiteLLMSettings("openai/o3", extra={"service_tier": "flex"}))
    assert flexible.cost(1000, 0) == 2_000_000


@pytest.mark.parametrize(("asked", "stated", "cost"), [(None, "flex", 2), ("flex", "flex", 1), (None, "priority", 3.5)])
def test_a_cheaper_tier_is_believed_only_where_it_was_asked_for(asked, stated, cost, monkeypatch):
    """In units of the usual price; a dearer one is always believed."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    extra = {} if asked is None else {"service_tier": asked}

    async def answered(address: str) -> Reply:
        teacher = LiteLLMTeacher(LiteLLMSettings("openai/o3", address, extra=extra))
        try:
            return await teacher.complete(REQUEST)
        finally:
            await teacher.aclose()

    states = Attack("tier", lambda honest: RawAnswer(placed(honest, "service_tier", f'"{stated}"')), "either")
    with FaultServer(lambda _: "A cork.", lambda *_: states) as server:
        reply = asyncio.run(answered(server.url))
    assert reply.charge.prompt == cost * 1000 * reply.usage.prompt_tokens


def test_the_settings_can_name_all_prices():
    """Without a price for what is read from the cache or written to it, both cost as much as any prompt."""
    own = {"input_price": 3, "output_price": 10}
    used = Usage(100, 10, 60, 30)
    named = Prices(LiteLLMSettings("x/y", **own, cached_price=0.3, cache_write_price=3.75), litellm).rates(1, False)
    assert named.charge(used, named) == Charge(30_000, 18_000, 112_500, 100_000, 0, 60 * 2700 - 30 * 750)
    unnamed = Prices(LiteLLMSettings("x/y", **own), litellm).rates(1, False)
    assert unnamed.charge(used, unnamed) == Charge(30_000, 180_000, 90_000, 100_000)
    with pytest.raises(ConfigError, match="go with input_price and output_price"):
        LiteLLMSettings("x/y", cached_price=1)


def test_an_unknown_price_is_none():
    assert Prices(LiteLLMSettings("openai/no-such-model"), litellm).rates(1, False) is None
    assert LiteLLMTeacher(LiteLLMSettings("openai/no-such-model")).cost(1, 1) is None


def test_the_reservation_is_for_the_dearest_tokens():
    """A prompt may be written to the cache, which costs more than to read it once."""
    assert LiteLLMTeacher(LiteLLMSettings("anthropic/claude-sonnet-4-5")).cost(1000, 100) == 1000 * 3750 + 100 * 15000


def test_parts_add_up_where_prices_are_odd():
    """The cost is rounded up once, and the parts have what the rounding leaves over."""
    rates = Prices(LiteLLMSettings("x/y", input_price=0.0001, output_price=0.0003, cached_price=0.00005), litellm)
    found = rates.rates(1, False)
    assert isinstance(found, Rates)
    for used in (Usage(1, 1), Usage(7, 3, 5, 1, 2), Usage(999, 1, 998), Usage(3, 0)):
        charge = found.charge(used, found)
        exact = (
            0.1 * (used.prompt_tokens - used.cached_tokens) + 0.05 * used.cached_tokens + 0.3 * used.completion_tokens
        )
        assert charge.total - 1 < exact <= charge.total + 1e-9


@pytest.mark.parametrize(
    ("length", "model", "marked"),
    [
        (4096, "anthropic/claude-sonnet-4-5", True),
        (4095, "anthropic/claude-sonnet-4-5", False),
        (9000, "openai/m", False),
    ],
)
def test_a_long_system_prompt_is_marked_for_the_cache_of_claude(length, model, marked, monkeypatch):
    """And for no other model, since all others refuse the mark or need none."""
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-test")
    request = evolve(REQUEST, messages=(Turn("system", "x" * length), Turn("user", "What floats?")))

    async def asked(address: str) -> Reply:
        teacher = LiteLLMTeacher(LiteLLMSettings(model, address))
        try:
            return await teacher.complete(request)
        finally:
            await teacher.aclose()

    with FaultServer(lambda _: "A cork.") as server:
        address = server.url if model.startswith("openai") else server.url.removesuffix("/v1")
        assert asyncio.run(asked(address)).text == "A cork."
        (sent,) = (json.dumps(one.body) for one in server.received)
    assert ("cache_control" in sent) == marked
