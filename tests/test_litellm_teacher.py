"""The paid teacher, judged by a server on this machine that counts what it receives and bills."""

import asyncio
import gc
import json
import os
import subprocess
import sys
import warnings
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from rt_framework.builtin.teachers.litellm import LiteLLMTeacher
from rt_framework.builtin.teachers.litellm_errors import teacher_error
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.builtin.teachers.transport import Exchange
from rt_framework.errors import ConfigError, TeacherError
from rt_framework.model import Request, Sampling, Turn, Usage
from rt_framework.testing.server import FAULTS, Fault, FaultServer
from rt_framework.testing.wire import chat_of
from tests.providers import environment, reached_at

KEY = "sk-canary-0123456789abcdef"
KINDS = {
    "server_error": "overloaded",
    "bad_gateway": "overloaded",
    "rate_limit": "rate_limited",
    "quota": "quota",
    "auth": "auth",
    "forbidden": "auth",
    "no_model": "model_missing",
    "too_long": "too_long",
    "policy": "refused",
    "bad_request": "bad_request",
    "reset": "connection",
    "truncated": "paid_unreadable",
    "bad_json": "paid_unreadable",
}
"""The kind of error that each fault must become; faults not named here give a reply."""
REPLIES = {
    "empty": ("", "stop"),
    "null": ("", "stop"),
    "no_choices": ("", "stop"),
    "length": ("hello", "length"),
    "content_filter": ("hello world", "content_filter"),
}
PROVIDERS = ("openai", "hosted_vllm")
"""One that litellm reaches through the provider's library, one that it reaches by its own HTTP client."""


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    for provider in PROVIDERS:
        monkeypatch.setenv(f"{provider.upper()}_API_KEY", KEY)
        monkeypatch.delenv(f"{provider.upper()}_API_BASE", raising=False)
        monkeypatch.delenv(f"{provider.upper()}_BASE_URL", raising=False)


def make_request(text="hi", schema=None, **sampling):
    return Request("response", "pair-hash", 0, (Turn("user", text),), Sampling(**sampling), schema)


def serve(fault=None):
    return FaultServer(lambda body: "hello world", lambda number, body: fault)


async def ask(server, request=None, provider="openai", seconds=30.0, **options):
    teacher = LiteLLMTeacher(LiteLLMSettings(f"{provider}/fake-model", server.url, **options))
    try:
        async with asyncio.timeout(seconds):
            return await teacher.complete(request or make_request())
    finally:
        await teacher.aclose()


async def failure(server, **options):
    with pytest.raises(TeacherError) as caught:
        await ask(server, **options)
    return caught.value


def test_every_fault_has_an_expectation():
    """No fault of the server is left untested."""
    assert set(FAULTS) == {*KINDS, *REPLIES, "hang"}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("name", KINDS)
async def test_failed_attempt_is_one_request_of_the_right_kind_without_the_key(name, provider):
    """Each failure costs one HTTP request, has its kind, and tells one line without the key."""
    with serve(Fault(name)) as server:
        error = await failure(server, provider=provider)
        assert len(server.received) == 1
    assert error.kind.name == KINDS[name]
    assert KEY[3:] not in error.message
    assert error.message
    assert error.message.isprintable()
    assert len(error.message) <= 300


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("name", REPLIES)
async def test_paid_answer_of_no_use_is_a_reply(name, provider):
    """An empty, cut off or filtered answer was paid for: it is returned, with its reason, after one request."""
    with serve(Fault(name)) as server:
        reply = await ask(server, provider=provider)
        assert (len(server.received), server.billed) == (1, 1)
    assert (reply.text, reply.finish_reason) == REPLIES[name]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_broken_kept_alive_connection_is_not_tried_again(provider):
    """A reset on a connection that was used before is one request too."""
    with FaultServer(lambda body: "hello", lambda number, body: Fault("reset") if number else None) as server:
        teacher = LiteLLMTeacher(LiteLLMSettings(f"{provider}/fake-model", server.url))
        await teacher.complete(make_request())
        with pytest.raises(TeacherError) as caught:
            await teacher.complete(make_request())
        await teacher.aclose()
        assert len(server.received) == 2
    assert caught.value.kind.name == "connection"


async def test_unreachable_server_is_a_connection_error():
    """Nobody listening is a failed connection, not a server error."""
    with serve() as server:
        pass
    error = await failure(server)
    assert error.kind.name == "connection"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_request_is_sent_whole(provider):
    """Messages and all sampling parameters reach the server, and nothing that was not asked for."""
    request = Request(
        "response",
        "h",
        0,
        (Turn("system", "be good"), Turn("user", "hi")),
        Sampling(temperature=0.5, top_p=0.9, max_tokens=77, seed=5),
    )
    with serve() as server:
        reply = await ask(server, request, provider, extra={"user": "tester", "top_k": 5})
        (received,) = server.received
    assert reply.text == "hello world"
    assert received.body == {
        "model": "fake-model",
        "messages": [{"role": "system", "content": "be good"}, {"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 77,
        "seed": 5,
        "user": "tester",
        "top_k": 5,
    }


async def test_claude_is_not_sent_an_idle_top_p():
    """Claude refuses temperature and top_p together: a top_p of 1, which does nothing, is left out."""
    with serve() as server:
        teacher = LiteLLMTeacher(LiteLLMSettings("hosted_vllm/claude-fake", server.url))
        await teacher.complete(make_request(temperature=0.5))
        await teacher.complete(make_request(temperature=0.5, top_p=0.9))
        await teacher.aclose()
        bodies = [received.body for received in server.received]
    assert [(body["temperature"], body.get("top_p")) for body in bodies] == [(0.5, None), (0.5, 0.9)]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_structured_request_carries_its_schema(provider):
    """A request with a schema asks the provider to hold to it, strictly."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    with serve() as server:
        await ask(server, make_request(schema=schema), provider)
        (received,) = server.received
    sent = received.body["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"] == {"name": "response", "schema": schema, "strict": True}


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
async def test_a_schema_has_the_form_of_the_provider_alone(provider, monkeypatch):
    """The provider would refuse OpenAI's form beside it; the answer is read from where the provider puts it."""
    for name, value in environment(KEY).items():
        monkeypatch.setenv(name, value)
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    with FaultServer(lambda _: '{"a": "hello"}') as server:
        teacher = LiteLLMTeacher(LiteLLMSettings(**reached_at(provider, server), structured=True))
        reply = await teacher.complete(make_request(schema=schema))
        await teacher.aclose()
        (received,) = server.received
    assert chat_of(received.body)["response_format"]["json_schema"]["schema"] == schema
    assert '"response_format"' not in json.dumps(received.body)
    assert (json.loads(reply.text), reply.finish_reason) == ({"a": "hello"}, "stop")


@pytest.mark.parametrize(
    ("model", "setting", "expected"),
    [
        ("openai/gpt-4o-mini", None, True),
        ("openai/gpt-4o-mini", False, False),
        ("openai/fake-model", None, False),
        ("openai/fake-model", True, True),
        ("no provider at all", None, False),
    ],
)
def test_structured_is_asked_of_litellm_unless_set(model, setting, expected):
    """The setting decides; without one, litellm's list of models."""
    assert LiteLLMTeacher(LiteLLMSettings(model, structured=setting)).structured is expected


async def test_retry_after_in_seconds_and_as_a_date():
    """The pause that the provider asks for is read in both forms of HTTP, and nonsense is none."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    found = []
    for value in ("7.5", later, "soon", None):
        with serve(Fault("rate_limit", value)) as server:
            found.append((await failure(server)).retry_after)
    assert found[0] == 7.5
    assert 60 < found[1] <= 90
    assert found[2:] == [None, None]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_attempt_can_be_cut_off(provider):
    """The run's deadline ends it at once, whatever the provider's client would do, and nothing is sent again."""
    with serve(Fault("hang")) as server:
        start = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await ask(server, provider=provider, seconds=0.5)
        assert asyncio.get_running_loop().time() - start < 5
        assert len(server.received) == 1


async def test_usage_and_cost_from_the_settings():
    """Tokens are the provider's; the cost follows the given prices and is rounded up."""
    with serve() as server:
        reply = await ask(server, make_request("twelve bytes"), input_price=0.15, output_price=0.6001)
    assert reply.usage == Usage(prompt_tokens=3, completion_tokens=3)
    assert reply.nano_dollars == 3 * 150 + 1801
    assert reply.model == "fake-model"


async def test_cost_of_an_unpriced_model_is_zero():
    """A model without a price costs nothing that we know of, and has no bound."""
    with serve() as server:
        assert (await ask(server)).nano_dollars == 0
        assert LiteLLMTeacher(LiteLLMSettings("openai/fake-model", server.url)).cost(1, 1) is None


async def test_price_bounds_the_cost():
    """The amount reserved before a call is never less than the cost of the call."""
    prices = {"input_price": 3.0, "output_price": 15.0}
    request = make_request("Grüße 🎈 " * 50, schema={"type": "object"}, max_tokens=2)
    with serve() as server:
        teacher = LiteLLMTeacher(LiteLLMSettings("openai/fake-model", server.url, **prices))
        bound = teacher.cost(request.most_prompt_tokens, 2)
        reply = await ask(server, request, **prices)
    assert bound is not None
    assert 0 < reply.nano_dollars <= bound


def test_price_of_a_known_model_comes_from_litellm():
    """Litellm's list prices a known model: 1,000 answer tokens of gpt-4o-mini are $0.0006."""
    teacher = LiteLLMTeacher(LiteLLMSettings("openai/gpt-4o-mini"))
    assert teacher.cost(0, 1000) == 600_000


def test_identity_names_what_is_asked_but_not_the_host():
    """Another host asks the same; another model or parameter does not."""
    here = LiteLLMTeacher(LiteLLMSettings("openai/m", "http://127.0.0.1:1/v1")).identity
    assert here == LiteLLMTeacher(LiteLLMSettings("openai/m", "https://example.org/v1")).identity
    others = [
        LiteLLMSettings("openai/n"),
        LiteLLMSettings("openai/m", extra={"reasoning_effort": "low"}),
        LiteLLMSettings("openai/m", extra={"reasoning_effort": "high"}),
    ]
    assert len({here, *(LiteLLMTeacher(settings).identity for settings in others)}) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"api_base": "http://example.org/v1"},
        {"api_base": "http://localhost.example.org/v1"},
        {"api_base": "ftp://127.0.0.1"},
        {"api_base": "https://me:secret@example.org/v1"},
        {"extra": {"api_key": "x"}},
        {"extra": {"OPENAI_API_KEY": "x"}},
        {"extra": {"azure_ad_token": "x"}},
        {"extra": {"num_retries": 3}},
        {"extra": {"n": 2}},
        {"input_price": 1.0},
        {"input_price": -1.0, "output_price": 1.0},
    ],
)
def test_refused_settings(options):
    """Plain http to another machine, keys in the config and parameters that multiply the cost are refused."""
    with pytest.raises(ConfigError) as caught:
        LiteLLMSettings("openai/m", **options)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["http://localhost:8000/v1", "http://[::1]:8000/v1", "https://example.org/v1"])
def test_allowed_addresses(address):
    """Https anywhere, http to this machine."""
    assert LiteLLMTeacher(LiteLLMSettings("openai/m", address)).identity == "litellm:openai/m"


def test_plain_http_from_the_environment_is_refused(monkeypatch):
    """Litellm also takes the address from the environment: the same rule holds there."""
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", "http://192.0.2.1:8000/v1")
    with pytest.raises(ConfigError, match="HOSTED_VLLM_API_BASE"):
        LiteLLMTeacher(LiteLLMSettings("hosted_vllm/m"))
    LiteLLMTeacher(LiteLLMSettings("openai/m"))


async def test_missing_key_and_unknown_provider_are_fatal(monkeypatch):
    """Without a key, or with a provider that litellm does not know, no call can succeed."""
    monkeypatch.delenv("OPENAI_API_KEY")
    with serve() as server:
        assert (await failure(server)).kind.name == "auth"
        assert (await failure(server, provider="nosuch")).kind.name == "model_missing"
        assert server.received == []


def test_keys_are_scrubbed_from_every_message(monkeypatch):
    """Values of key variables and anything that looks like a key leave a message; the rest stays."""
    monkeypatch.setenv("ACME_TOKEN", "hunter22")
    told = ValueError(f"bad\x1b[2J\n hunter22, {KEY}, Bearer abc.def, AIzaSyA1234567890 for gpt-4o-mini")
    error = teacher_error(told, Exchange(sent=True))
    assert error.message == "bad [2J ***, ***, *** *** for gpt-4o-mini"


async def test_lone_surrogate_can_be_sent():
    """User data with half a character does not fail the call."""
    with serve() as server:
        reply = await ask(server, make_request("a\ud800b"))
        assert server.received[0].body["messages"][0]["content"] == "a?b"
    assert reply.text == "hello world"


async def ask_twice(server, provider):
    await ask(server, provider=provider)
    await ask(server, provider=provider)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_closing_leaves_nothing_open_and_harms_no_later_run(provider):
    """After aclose no connection is left, and more runs work, in the same event loop and in others."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with serve() as server:
            for _ in range(3):
                asyncio.run(ask_twice(server, provider))
            gc.collect()
            assert len(server.received) == 6
    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == []


def test_litellm_is_imported_late_and_quietly(tmp_path):
    """Construction imports nothing; a failed call prints nothing and reads no .env file."""
    (tmp_path / ".env").write_text("RT_CANARY=1\n")
    code = """
import asyncio, os, sys
from rt_framework.builtin.teachers.litellm import LiteLLMTeacher
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.builtin.teachers.transport import Exchange
from rt_framework import Request, Sampling, TeacherError, Turn
teacher = LiteLLMTeacher(LiteLLMSettings("openai/fake-model", "http://127.0.0.1:1/v1"))
assert teacher.identity and "litellm" not in sys.modules
async def main():
    try:
        await teacher.complete(Request("r", "p", 0, (Turn("user", "hi"),), Sampling()))
    except TeacherError as error:
        assert error.kind.name == "connection", error.message
    else:
        raise AssertionError
    await teacher.aclose()
asyncio.run(main())
assert "RT_CANARY" not in os.environ
"""
    env = {**os.environ, "OPENAI_API_KEY": KEY, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
