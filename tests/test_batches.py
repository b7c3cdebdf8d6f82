"""Questions in batches over HTTP, judged by a server that counts what it received and billed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from attrs import frozen

from rt_framework.builtin.reflections.instruction import InstructionReflection
from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.builtin.teachers.batch_apis import azure, batch_api
from rt_framework.builtin.teachers.batch_apis.door import Draft
from rt_framework.builtin.teachers.litellm import LiteLLMTeacher
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.builtin.teachers.transport import RecordingClient
from rt_framework.cli import main
from rt_framework.concurrency.stop import StopSignal
from rt_framework.config.schema import Config, Limits
from rt_framework.errors import ConfigError, Retry, RtError, TeacherError
from rt_framework.kit.batch_tokens import BatchToken
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Pending, Reply, Request
from rt_framework.model.digests import digest
from rt_framework.plugin import structure
from rt_framework.teacher import batch_exchange, batch_state, sending
from rt_framework.teacher import provider_batches as batches
from rt_framework.teacher.attempts import Attempts
from rt_framework.teacher.budget import Budget
from rt_framework.teacher.counts import TeacherCounter
from rt_framework.teacher.purse import Purse
from rt_framework.testing import FakeStudent, ScriptedTeacher
from rt_framework.testing.batch_attacks import changed
from rt_framework.testing.batch_desk import ENDPOINTS, LOST, BatchDesk
from rt_framework.testing.server import FaultServer, scattered
from rt_framework.testing.wire import told
from tests.forks import KEY, start
from tests.providers import OTHERS, PROVIDERS, environment, reached_at
from tests.reliability.jobs import http_job, priced_at
from tests.run_helpers import (
    attempts,
    go,
    http_answer,
    nobody,
    outputs,
    pair,
    request,
    rows,
    side,
)

COUNT = 12


def sender(teacher, ledger, spent, stop):
    """The sender of a teacher with batches, of a run that has spent so much."""
    attempts = Attempts(teacher, ledger, Budget(Purse(None, spent)), TeacherCounter(), stop)
    return batches.ProviderBatchSender(teacher, attempts, nobody(), stop, lambda: False)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name, value in environment(KEY).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(azure, "_PAUSE", 0.05)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.setattr(sending, "backoff", lambda attempt, retry_after: 0.0)
    monkeypatch.setattr(batch_state, "_QUIET", 0.1)
    monkeypatch.setattr(batch_exchange, "_SOONEST", 0.05)
    monkeypatch.setattr(batch_exchange, "_GRACE", 0.5)


def job(folder: Path, server: FaultServer, limits: object = None, provider: str = "openai", **more: object) -> Path:
    teacher = priced_at(server, **{"batch": True} | reached_at(provider, server) | more)
    return http_job(folder, server, rows(COUNT), teacher=teacher, limits=limits or {})


@pytest.fixture
def rt_run(tmp_path, monkeypatch, capfd):
    """Calls `rt run`, or another command, on a config as the installed program does; gives exit code and all output."""

    def call(config: Path, run_dir: str = "run", *options: str, command: str = "run") -> tuple[int, str]:
        with monkeypatch.context() as patch:
            command_line = [
                "rt",
                "-p",
                "tests.fakes_plugin",
                command,
                str(config),
                "--run-dir",
                str(tmp_path / run_dir),
            ]
            command_line += options
            patch.setattr(sys, "argv", command_line)
            patch.setattr(sys, "path", [*sys.path])
            with pytest.raises(SystemExit) as end:
                main()
        return end.value.code, "".join(capfd.readouterr())

    return call


def asked(server: FaultServer) -> Counter[str]:
    """Return how often the server answered and billed each question."""
    billed = [request.messages for request in server.received if request.billed]
    return Counter(json.dumps(messages, sort_keys=True) for messages in billed)


def spent(run_dir: Path) -> int:
    with Ledger.reading(run_dir / "ledger.sqlite") as ledger:
        return ledger.costs.spent()


def no_key(folder: Path, out: str) -> None:
    """The key is in no file of the run directory, and was not shown."""
    assert not [path for path in folder.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert KEY not in out


@frozen
class Known:
    """The outputs, the questions and the cost of a run without faults."""

    outputs: dict[str, bytes]
    asked: Counter[str]
    spent: int


@pytest.fixture
def provider() -> str:
    """The provider that a test is about: OpenAI, unless the test is run for others too."""
    return "openai"


@pytest.fixture(scope="module")
def known() -> dict[str, Known]:
    """Runs without faults, by provider."""
    return {}


@pytest.fixture
def uncrashed(provider, known, tmp_path_factory) -> Known:
    """A run without faults."""
    if provider not in known:
        folder = tmp_path_factory.mktemp("uncrashed")
        with FaultServer(http_answer) as server:
            job(folder, server, provider=provider)
            code, out = start(folder).wait()
            assert code == 0, out
            assert len(asked(server)) == 2 * COUNT
            known[provider] = Known(outputs(folder / "run"), asked(server), spent(folder / "run"))
    return known[provider]


# --- the same answers for half the price ------------------------------------------------------


ASKED = {
    "openai": {"upload": 2, "create": 2, "retrieve": 4, "content": 2},
    "azure": {"upload": 2, "check": 4, "create": 2, "retrieve": 4, "content": 2},
    "mistral": {"upload": 2, "create": 2, "retrieve": 4, "content": 2},
    "anthropic": {"create": 2, "retrieve": 4, "content": 2},
    "gemini": {"upload": 2, "create": 2, "retrieve": 4, "content": 2},
}
"""Requests of a run with two batches, by endpoint."""


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_run_in_batches_gives_what_a_live_run_gives(provider, tmp_path, rt_run):
    """The same requests, the same bytes in the end, two batches instead of 24 requests, half the price."""
    with FaultServer(http_answer) as server:
        code, out = rt_run(job(tmp_path, server, provider=provider, batch=False), "live")
        assert code == 0, out
        live = server.received
    with FaultServer(http_answer) as server:
        code, out = rt_run(job(tmp_path, server, {"budget_usd": 5.0}, provider))
        assert code == 0, out
        assert server.desk.sizes == [COUNT, COUNT]
        assert all(request.in_batch for request in server.received)
        assert sorted(json.dumps(one.body, sort_keys=True) for one in server.received) == sorted(
            json.dumps(one.body, sort_keys=True) for one in live
        )
        # litellm fetches nothing for itself.
        assert server.desk.asked == ASKED[provider]
        assert server.requests == sum(ASKED[provider].values())
        assert rt_run(job(tmp_path, server, provider=provider))[0] == 0
        assert len(server.received) == 2 * COUNT
    assert outputs(tmp_path / "run") == outputs(tmp_path / "live")
    assert attempts(tmp_path / "run") == {("answered", ""): 2 * COUNT}
    assert 0 <= 2 * spent(tmp_path / "run") - spent(tmp_path / "live") <= 2 * 2 * COUNT  # Each is rounded up.
    assert re.search(r"batch \S*batch\S*_?0: 12 questions submitted; after Ctrl-C it stays with the provider", out)
    assert re.search(r"batch \S*1: 12 questions collected", out)


def test_a_batch_waits_until_the_student_is_done(tmp_path):
    """Losses come in slowly, one sample after the other; what they lead to still goes in one batch."""

    class Slow(FakeStudent):
        batch_tokens, packs, path = 40, False, "slow"

        def score(self, batch):
            time.sleep(0.15)
            return super().score(batch)

    with FaultServer(http_answer) as server:
        raw = json.loads(job(tmp_path, server).read_text()) | {"student": "held:student"}
        go(structure(raw, Config), tmp_path / "run", student=Slow())
        assert server.desk.sizes == [COUNT, COUNT]


def test_samples_under_way_bound_a_batch(tmp_path, rt_run):
    """Left out, the limit is large where questions are being gathered into a batch; given, it holds."""
    with FaultServer(http_answer) as server:
        code, out = rt_run(job(tmp_path, server, limits={"in_flight": 5}))
        assert code == 0, out
        assert max(server.desk.sizes) == 5
        assert set(asked(server).values()) == {1}
    assert (Limits().at_once(True), Limits().at_once(False), Limits(in_flight=7).at_once(True)) == (50_000, 256, 7)


def test_a_batch_holds_what_the_provider_takes(tmp_path, rt_run, monkeypatch):
    """No more requests than it takes, nor more bytes."""
    monkeypatch.setattr(LiteLLMTeacher, "most_requests", 5)
    with FaultServer(http_answer) as server:
        assert rt_run(job(tmp_path, server), "a")[0] == 0
        assert (max(server.desk.sizes), sum(server.desk.sizes)) == (5, 2 * COUNT)  # each question in both stages
    monkeypatch.setattr(LiteLLMTeacher, "most_requests", 50_000)
    monkeypatch.setattr(LiteLLMTeacher, "most_bytes", 6_000)
    with FaultServer(http_answer) as server:
        assert rt_run(job(tmp_path, server), "b")[0] == 0
        assert 1 < max(server.desk.sizes) < COUNT
        assert sum(server.desk.sizes) == 2 * COUNT


def test_other_providers_are_refused():
    """With the providers that have batches, before anything is sent."""
    with pytest.raises(ConfigError, match="batch is for models of anthropic/, azure/, gemini/, mistral/, openai/; 'x"):
        LiteLLMSettings("xai/grok-x", batch=True)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_old_batch_is_found_among_many(provider):
    """The provider lists them a page at a time, newest first."""
    with FaultServer(http_answer, desk=BatchDesk(polls=0)) as server:
        async with teacher_at(server, provider) as first, teacher_at(server, provider) as later:
            names = [await first.submit({"key": question()}, f"token-{number}") for number in range(45)]
            assert await later.find("token-2") == names[2]
            assert await later.find("token-45") is None
            assert server.desk.asked["list"] == 6


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_an_account_without_batches_has_none(provider):
    """An empty list has a form of its own at each provider."""
    with FaultServer(http_answer) as server:
        async with teacher_at(server, provider) as teacher:
            assert await teacher.find("token") is None


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_batches_are_where_the_environment_says_that_calls_go(provider, monkeypatch):
    """Address and key are those that litellm takes for a live call."""
    with FaultServer(http_answer) as server:
        options = reached_at(provider, server)
        # litellm reads no other variable for Mistral's address.
        name = "MISTRAL_AZURE_API_BASE" if provider == "mistral" else f"{provider.upper()}_API_BASE"
        monkeypatch.setenv(name, options["api_base"])
        teacher = LiteLLMTeacher(LiteLLMSettings(options["model"], structured=True, batch=True))
        assert await teacher.find("token") is None
        await teacher.aclose()
        assert server.desk.asked == {"list": 1}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_without_a_key_nothing_is_submitted(provider, monkeypatch):
    """Litellm or the provider refuses, as it does live."""
    for name in environment(""):
        monkeypatch.delenv(name)
    with FaultServer(http_answer, desk=BatchDesk(trouble=lambda *_: "auth")) as server:
        async with teacher_at(server, provider) as teacher:
            with pytest.raises(TeacherError) as failed:
                await teacher.submit({"key": question()}, "token")
        assert failed.value.kind.name == "auth"


@asynccontextmanager
async def teacher_at(server: FaultServer, provider: str) -> AsyncIterator[LiteLLMTeacher]:
    """The teacher alone, without a run."""
    teacher = LiteLLMTeacher(LiteLLMSettings(**reached_at(provider, server), structured=True, batch=True))
    yield teacher
    await teacher.aclose()


def question() -> Request:
    """A question with a schema."""
    return InstructionReflection(ReflectionSettings()).render(pair(), 0, structured=True)


# --- a provider whose batches have no mark ----------------------------------------------------


async def test_a_batch_of_anthropic_is_recognised_by_its_results():
    """Batches of another size or day are passed over; one that may be ours is waited for; a known one is not ours."""
    now, day = time.time(), 86_400
    tokens = [BatchToken(now, 1).new() for _ in range(4)]
    with FaultServer(http_answer, desk=(desk := BatchDesk(polls=1000))) as server:
        async with teacher_at(server, "anthropic") as first, teacher_at(server, "anthropic") as later:
            names = [await first.submit({"key": question()}, token) for token in tokens]
            assert await first.find(BatchToken(now, 1).new()) is None  # It has submitted all of them itself.
            for other in (BatchToken(now, 2), BatchToken(now - 3 * day, 1), BatchToken(now + 3 * day, 1)):
                assert await later.find(other.new()) is None
            assert desk.asked["content"] == 0
            with pytest.raises(TeacherError, match="is being processed, and only its results") as waits:
                await later.find(tokens[1])
            assert waits.value.kind.retry is Retry.RESEND
            assert isinstance(await later.collect(names[0], {"key": question()}), Pending)  # Known from now on.
            desk.polls = 0
            assert [await later.find(token) for token in tokens[1:]] == names[1:]
            assert await later.find(BatchToken(now, 1).new()) is None
            assert desk.asked["content"] == 3 + 2 + 1 + 3


async def test_results_of_anthropic_that_are_gone_hide_no_batch():
    """Another batch of the same size has lost them: ours is found, and nothing says that a third is not there."""
    tokens = [BatchToken(time.time(), 1).new() for _ in range(2)]
    with FaultServer(http_answer, desk=(desk := BatchDesk(polls=0))) as server:
        async with teacher_at(server, "anthropic") as first, teacher_at(server, "anthropic") as later:
            names = [await first.submit({"key": question()}, token) for token in tokens]
            desk._files.pop(desk._batches[names[1]].files["output"])
            assert await later.find(tokens[0]) == names[0]
            with pytest.raises(TeacherError) as lost:
                await later.find(tokens[1])
            assert lost.value.kind.name == "batch_lost"


async def test_the_results_of_anthropic_come_from_its_own_address():
    """Each batch names an address on another host; it is not asked."""
    with FaultServer(http_answer) as other, FaultServer(http_answer, desk=BatchDesk(polls=0)) as server:
        server.desk._lie = lambda at, number, truth: (
            changed(results_url=f"{other.url}/results")(truth) if at == "retrieve" else truth
        )
        async with teacher_at(server, "anthropic") as teacher:
            name = await teacher.submit({"key": question()}, "token")
            assert isinstance((await teacher.collect(name, {"key": question()}))["key"], Reply)
        assert other.requests == 0


async def test_a_batch_of_anthropic_announces_what_its_requests_announce():
    """Some parameters are accepted beside a header only, which in a batch has to hold for all its requests."""
    seen = []

    class Seen(RecordingClient):
        def carry(self, request):
            seen.append(request)
            return super().carry(request)

    with FaultServer(lambda _: "hello") as server:
        api, client = batch_api("anthropic", "m"), Seen()
        live = httpx.Request(
            "POST", f"{server.url}/messages", headers={"x-api-key": KEY, "anthropic-version": "2023-06-01"}
        )
        announced = {"a": "one,two", "b": "", "c": "two, three"}
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}).encode()
        drafts = {key: Draft(body, features) for key, features in announced.items()}
        await api.submit(api.door(client, live), drafts, "token")
        await client.aclose()
    (sent,) = seen
    names = ("anthropic-beta", "x-api-key", "anthropic-version")
    assert [sent.headers[name] for name in names] == ["one,two,three", KEY, "2023-06-01"]


def test_a_token_tells_time_and_size():
    """And leaves room for a key in the 64 characters that Anthropic allows an id; older tokens say nothing."""
    told = BatchToken(2_000_000_000.7, 1_000_000)
    assert BatchToken.of(told.new()) == BatchToken(2_000_000_000.0, 1_000_000)
    assert len({told.new() for _ in range(100)}) == 100
    assert len(told.new()) + 1 + len(digest("key")) <= 64
    assert BatchToken.of("0123456789abcdef0123456789abcdef") is None


# --- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", OTHERS)
@pytest.mark.parametrize("name", ["server_error", LOST, "truncated"])
def test_trouble_at_every_endpoint_costs_nothing(name, provider, tmp_path, rt_run, uncrashed):
    """Every third request fails; each question is billed once, and the data set is the same."""

    def trouble(at, number):
        # A file whose check by Azure fails is uploaded again, so five failures in a row are too many.
        return name if number % 3 == 0 and (at != "check" or number == 0) else None

    with FaultServer(http_answer, desk=BatchDesk(trouble=trouble)) as server:
        code, out = rt_run(job(tmp_path, server, provider=provider))
        assert code == 0, out
        assert set(server.desk.asked) >= {"create", "list", "retrieve", "content"}
        assert asked(server) == uncrashed.asked
    assert outputs(tmp_path / "run") == uncrashed.outputs
    assert spent(tmp_path / "run") == uncrashed.spent
    no_key(tmp_path / "run", out)


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        *((endpoint, "server_error") for endpoint in ENDPOINTS),
        ("upload", LOST),
        ("create", LOST),
        ("create", "rate_limit"),
        ("create", "bad_json"),
        ("retrieve", "bad_json"),
        ("content", "truncated"),
    ],
)
def test_trouble_at_an_endpoint_costs_nothing(endpoint, name, tmp_path, rt_run, uncrashed):
    """Every second request fails; each question is billed once, and the data set is the same."""
    failing = {endpoint: name}
    if endpoint == "list":
        failing["create"] = LOST  # Else nobody lists.

    def trouble(at, number):
        return failing.get(at) if number % 2 == 0 else None

    with FaultServer(http_answer, desk=BatchDesk(trouble=trouble)) as server:
        code, out = rt_run(job(tmp_path, server))
        assert code == 0, out
        assert server.desk.asked[endpoint] > 1
        assert asked(server) == uncrashed.asked
    assert outputs(tmp_path / "run") == uncrashed.outputs
    assert spent(tmp_path / "run") == uncrashed.spent
    no_key(tmp_path / "run", out)


@pytest.mark.parametrize(
    ("provider", "fault", "meaning"),
    [("openai", "quota", "no credit left"), *((provider, "auth", "did not accept the key") for provider in PROVIDERS)],
)
def test_a_fatal_refusal_ends_the_command(provider, fault, meaning, tmp_path, rt_run):
    """Exit code 3, nothing charged; later it goes on."""
    broken = [True]
    desk = BatchDesk(trouble=lambda at, number: fault if broken[0] and at == "create" else None)
    with FaultServer(http_answer, desk=desk) as server:
        code, out = rt_run(job(tmp_path, server, provider=provider))
        assert code == 3, out
        assert meaning in out
        assert (desk.asked["create"], spent(tmp_path / "run")) == (1, 0)
        no_key(tmp_path / "run", out)
        broken[0] = False
        assert rt_run(job(tmp_path, server, provider=provider))[0] == 0
        assert set(asked(server).values()) == {1}


def test_a_key_that_google_does_not_know_ends_the_command(tmp_path, rt_run):
    """Google says so with the status of a bad request."""
    body = {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "X"}}
    desk = BatchDesk(lie=lambda at, number, truth: told(body, 400) if at == "upload" else truth)
    with FaultServer(http_answer, desk=desk) as server:
        code, out = rt_run(job(tmp_path, server, provider="gemini"))
        assert code == 3, out
        assert "did not accept the key" in out


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_a_batch_left_out_is_asked_again(provider, tmp_path, rt_run, uncrashed):
    """The first batch expires half way: six answers are kept, and only the other six are asked again."""
    desk = BatchDesk(endings=lambda number: "completed" if number else "expired")
    with FaultServer(http_answer, desk=desk) as server:
        code, out = rt_run(job(tmp_path, server, provider=provider))
        assert code == 0, out
        assert desk.sizes[0] == COUNT
        assert sum(desk.sizes) == 2 * COUNT + COUNT // 2
        assert asked(server) == uncrashed.asked
    assert attempts(tmp_path / "run") == {("answered", ""): 2 * COUNT, ("failed", "expired"): COUNT // 2}
    assert (outputs(tmp_path / "run"), spent(tmp_path / "run")) == (uncrashed.outputs, uncrashed.spent)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_cancelled_batch_ends_the_command(provider, tmp_path, rt_run, uncrashed):
    """Somebody did that on purpose: exit code 3; what was answered stays, and the rest is asked for next time."""
    desk = BatchDesk(endings=lambda number: "completed" if number else "cancelled")
    with FaultServer(http_answer, desk=desk) as server:
        code, out = rt_run(job(tmp_path, server, provider=provider))
        assert (code, desk.sizes) == (3, [COUNT]), out
        assert "the provider ended the batch without answering it" in out
        assert rt_run(job(tmp_path, server, provider=provider))[0] == 0
        assert asked(server) == uncrashed.asked
    assert outputs(tmp_path / "run") == uncrashed.outputs


@pytest.mark.parametrize("provider", ["openai", "azure", "gemini"])
def test_a_batch_that_the_queue_has_no_room_for_is_halved(provider, tmp_path, rt_run, uncrashed):
    """And then one waits for the other."""
    desk = BatchDesk(endings=lambda number: "completed" if number > 1 else "failed")
    with FaultServer(http_answer, desk=desk) as server:
        code, out = rt_run(job(tmp_path, server, provider=provider))
        assert code == 0, out
        assert desk.sizes[:4] == [12, 6, 3, 3]
        assert max(desk.sizes[2:]) == 3
        assert asked(server) == uncrashed.asked
    assert outputs(tmp_path / "run") == uncrashed.outputs


def test_a_batch_that_is_refused_as_a_whole_ends_the_command(tmp_path, rt_run, uncrashed):
    """Mistral says why, but not that it charges nothing, so the highest cost counts; the next run asks again."""
    desk = BatchDesk(endings=lambda number: "completed" if number else "failed")
    with FaultServer(http_answer, desk=desk) as server:
        code, out = rt_run(job(tmp_path, server, provider="mistral"))
        assert (code, desk.sizes) == (3, [COUNT]), out
        assert spent(tmp_path / "run") > uncrashed.spent
        assert "The file is not valid." in out
        assert rt_run(job(tmp_path, server, provider="mistral"))[0] == 0
        assert set(asked(server).values()) == {1}


def test_a_file_that_azure_refuses_makes_no_batch(tmp_path, rt_run):
    """The questions were not accepted, and cost nothing."""
    desk = BatchDesk(lie=lambda at, number, truth: changed(status="error")(truth) if at == "check" else truth)
    with FaultServer(http_answer, desk=desk) as server:
        _, out = rt_run(job(tmp_path, server, provider="azure"))
        assert "bad_request" in out
        assert (desk.asked["create"], server.received, spent(tmp_path / "run")) == (0, [], 0)


def test_lines_that_fail_are_what_they_are_live(tmp_path, rt_run):
    """A third of the lines goes wrong, in twelve ways: the ledger has the same kinds as the live path gives."""
    kinds = {"policy": "refused", "too_long": "too_long", "server_error": "overloaded", "rate_limit": "rate_limited"}
    odd = ("empty", "null", "no_choices", "length", "content_filter")
    with FaultServer(http_answer, scattered(3, 0.6, (*kinds, *odd))) as server:
        code, out = rt_run(job(tmp_path, server))
        assert code == 0, out
        counted = Counter(
            ("failed", kinds[one.fault]) if one.fault in kinds else ("answered", "") for one in server.received
        )
        assert len(counted) > 3
    assert attempts(tmp_path / "run") == counted
    assert [line["row"] for line in side(tmp_path / "run")] == list(range(COUNT))


@pytest.mark.parametrize("provider", OTHERS)
def test_lines_of_others_fail_as_they_do_live(provider, tmp_path, rt_run):
    """The same questions, refused in the same ways: the same attempts."""
    ways = ("policy", "too_long", "server_error", "rate_limit", "bad_request")
    counts = []
    for name, batch in (("live", False), ("batched", True)):
        with FaultServer(http_answer, scattered(3, 0.6, ways)) as server:
            code, out = rt_run(job(tmp_path, server, provider=provider, batch=batch), name)
            assert code in {0, 1}, out
        counts.append(attempts(tmp_path / name))
    assert counts[0] == counts[1]
    assert {kind for _, kind in counts[0]} >= {"", "bad_request", "overloaded", "rate_limited"}


def test_the_budget_holds_batches_back(tmp_path, rt_run):
    """The highest cost of a batch is reserved before it is sent, so batches are small and the budget is kept."""
    with FaultServer(http_answer) as server:
        code, out = rt_run(job(tmp_path, server, limits={"budget_usd": 0.008}))
        assert (code, "to continue, run again with a larger limits.budget_usd" in out) == (0, False) or code == 6, out
        assert 1 <= max(server.desk.sizes) < COUNT
        assert 0 < spent(tmp_path / "run") <= 8_000_000
        assert rt_run(job(tmp_path, server))[0] == 0
        assert set(asked(server).values()) == {1}


# --- crashes ----------------------------------------------------------------------------------

OURS = "rt_framework.builtin.teachers.litellm LiteLLMTeacher"
POINTS = {
    "before the batch is submitted": f"before {OURS}.submit 1",
    "before its name is committed": f"after {OURS}.submit 1",
    "while it is waited for": f"before {OURS}.collect 2",
    "before its answers are committed": f"after {OURS}.collect 2",
    "before its last answers are committed": "before rt_framework.ledger.attempts AttemptTable.answered 5",
    "before the second is submitted": f"before {OURS}.submit 2",
    "before the name of the second is committed": f"after {OURS}.submit 2",
    "before it is marked as collected": "before rt_framework.ledger.batches BatchTable.is_now 2",
}


_ASKS = [point for point, place in POINTS.items() if OURS in place]
"""The points at which the provider is asked."""


@pytest.mark.parametrize(
    ("provider", "point"),
    [*(("openai", point) for point in POINTS), *((provider, point) for provider in OTHERS for point in _ASKS)],
)
def test_a_killed_run_takes_its_batches_up(provider, point, tmp_path, rt_run, uncrashed):
    """Killed at each step and started again: no answer is billed twice, none is lost, no call is in doubt, and the
    data set and the costs are those of a run that was not killed.
    """
    with FaultServer(http_answer) as server:
        config = job(tmp_path, server, provider=provider)
        code, out = start(tmp_path, POINTS[point]).wait()
        assert code == -signal.SIGKILL, out
        submitted = len(server.desk.sizes)
        code, out = rt_run(config)
        assert code == 0, out
        assert asked(server) == uncrashed.asked
        assert len(server.desk.sizes) == 2
        assert len(set(server.desk.tokens)) == 2
        assert ("questions found" in out) == (
            submitted > 0 and "second is submitted" not in point and "marked" not in point
        )
    assert outputs(tmp_path / "run") == uncrashed.outputs
    assert spent(tmp_path / "run") == uncrashed.spent
    never = {("failed", "expired"): COUNT} if "is submitted" in point else {}
    assert attempts(tmp_path / "run") == {("answered", ""): 2 * COUNT} | never


def test_what_waits_is_reserved_and_shown(tmp_path, rt_run, monkeypatch, capfd):
    """Killed while it waits: what the batch can cost counts as spent, and `rt status` names it."""
    with FaultServer(http_answer) as server:
        config = job(tmp_path, server)
        start(tmp_path, POINTS["while it is waited for"]).wait()
        reserved = spent(tmp_path / "run")
        assert reserved > 12_000_000  # Twelve answers of 1,024 tokens at 1e-6 dollars.
        monkeypatch.setattr(sys, "argv", ["rt", "status", str(tmp_path / "run")])
        with pytest.raises(SystemExit):
            main()
        assert "batch batch_0: 12 questions" in capfd.readouterr().out
        code, out = rt_run(config)
        assert code == 0, out
        assert spent(tmp_path / "run") < reserved


def test_a_budget_counts_what_waits(tmp_path, rt_run):
    """A batch of the killed run holds the whole budget: other questions wait until its answers say what it did cost."""
    with FaultServer(http_answer) as server:
        job(tmp_path, server, limits={"in_flight": COUNT // 2})
        start(tmp_path, POINTS["while it is waited for"]).wait()
        budget = spent(tmp_path / "run") / 1e9
        code, out = rt_run(job(tmp_path, server, limits={"budget_usd": budget}))
        assert code == 0, out
        assert server.desk.sizes[0] == COUNT // 2
        assert set(asked(server).values()) == {1}


def test_batches_are_collected_though_batch_was_left_out(tmp_path, rt_run, uncrashed):
    """Submitted in a batch, then asked live: the first twelve come from the batch at half the price."""
    with FaultServer(http_answer) as server:
        job(tmp_path, server)
        start(tmp_path, POINTS["while it is waited for"]).wait()
        code, out = rt_run(job(tmp_path, server, batch=False))
        assert code == 0, out
        assert asked(server) == uncrashed.asked
        assert Counter(one.in_batch for one in server.received) == {True: COUNT, False: COUNT}
    assert uncrashed.spent < spent(tmp_path / "run") < 2 * uncrashed.spent
    assert outputs(tmp_path / "run") == uncrashed.outputs


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_batch_of_another_account_is_not_asked_anew(provider, tmp_path, rt_run):
    """A provider that does not know the batch: exit code 3 and the likely reason, nothing sent."""
    with FaultServer(http_answer) as server:
        job(tmp_path, server, provider=provider)
        start(tmp_path, POINTS["while it is waited for"]).wait()
    with FaultServer(http_answer) as server:
        code, out = rt_run(job(tmp_path, server, provider=provider), "run", "--moved")
        assert code == 3, out
        assert "check that key and address are those of the submission" in out
        assert "'rt retry --kind batch_lost' gives it up" in out
        assert rt_run(job(tmp_path, server, provider=provider))[0] == 3
        assert server.received == []


@pytest.mark.parametrize("way", ["rt retry", "batch: false"])
def test_a_lost_batch_can_be_given_up(way, tmp_path, rt_run, uncrashed):
    """The provider has forgotten it: both ways out ask its questions again, and the lost ones stay charged."""
    with FaultServer(http_answer) as server:
        job(tmp_path, server)
        start(tmp_path, POINTS["while it is waited for"]).wait()
    reserved = spent(tmp_path / "run")
    with FaultServer(http_answer) as server:
        assert rt_run(job(tmp_path, server), "run", "--moved")[0] == 3
        if way == "rt retry":
            code, out = rt_run(job(tmp_path, server), "run", "--kind", "batch_lost", command="retry")
        else:
            code, out = rt_run(job(tmp_path, server, batch=False))
        assert code == 0, out
        assert asked(server) == uncrashed.asked
    assert attempts(tmp_path / "run") == {("answered", ""): 2 * COUNT, ("failed", "batch_lost"): COUNT}
    assert outputs(tmp_path / "run") == uncrashed.outputs
    assert spent(tmp_path / "run") >= reserved + uncrashed.spent


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_batch_whose_file_is_gone_is_told_as_that(provider, tmp_path, rt_run):
    """Providers keep files for some weeks only: exit code 3, and the way out."""
    with FaultServer(http_answer) as server:
        job(tmp_path, server, provider=provider)
        start(tmp_path, POINTS["before its answers are committed"]).wait()
        server.desk._files.clear()
        code, out = rt_run(job(tmp_path, server, provider=provider))
        assert code == 3, out
        assert re.search("with (its|the) answers( of a batch)?, was not found", out)
        code, out = rt_run(job(tmp_path, server, provider=provider), "run", "--kind", "batch_lost", command="retry")
        assert code == 0, out
    assert attempts(tmp_path / "run") == {("answered", ""): 2 * COUNT, ("failed", "batch_lost"): COUNT}


def test_ctrl_c_leaves_the_batch_with_the_provider(tmp_path, rt_run, uncrashed):
    """Exit code 130 at once, and it says so; the same command collects it."""
    desk = BatchDesk(polls=1_000_000)
    with FaultServer(http_answer, desk=desk) as server:
        config = job(tmp_path, server)
        forked = start(tmp_path)
        while desk.asked["retrieve"] < 3:
            time.sleep(0.05)
        os.kill(forked.process.pid, signal.SIGINT)
        code, out = forked.wait()
        assert code == 130, out
        assert "12 questions stay with the provider in batches; the same command collects the answers" in out
        assert "Traceback" not in out
        desk.polls = 1
        code, out = rt_run(config)
        assert code == 0, out
        assert asked(server) == uncrashed.asked
    assert outputs(tmp_path / "run") == uncrashed.outputs


def test_ctrl_c_ends_a_look_that_hangs(tmp_path, rt_run, uncrashed):
    """The provider does not answer how far the batch is: Ctrl-C cuts that off at once, since it costs nothing."""
    broken = [True]
    desk = BatchDesk(trouble=lambda at, number: "hang" if broken[0] and at == "retrieve" else None)
    with FaultServer(http_answer, desk=desk) as server:
        config = job(tmp_path, server)
        forked = start(tmp_path)
        while not desk.asked["retrieve"]:
            time.sleep(0.05)
        os.kill(forked.process.pid, signal.SIGINT)
        began = time.monotonic()
        code, out = forked.wait()
        assert (code, time.monotonic() - began < 20) == (130, True), out
        broken[0] = False
        assert rt_run(config)[0] == 0
        assert asked(server) == uncrashed.asked


async def test_an_answer_that_comes_while_its_question_is_asked_is_taken(tmp_path):
    """A batch of an earlier run comes back between the look into the ledger and the look at the batches."""

    class Prompt(ScriptedTeacher):
        batched, most_requests, most_bytes = False, 9, 10**6

        async def submit(self, requests, token):
            raise AssertionError("nothing is to be submitted")

        async def find(self, token):
            return token

        async def collect(self, batch, requests):
            return dict.fromkeys(requests, Reply("from the batch"))

    ledger = Ledger.writing(tmp_path / "ledger.sqlite")
    teacher = Prompt(lambda _: "asked anew")
    await ledger.batches.begin("token", 0.0, teacher.identity, [("key", request(1), 5)])
    held = sender(teacher, ledger, 5, StopSignal())
    assert held.takes("key")
    await held.close()
    assert ledger.calls.reply("key") is not None
    assert held.takes("key")
    assert (await held.reply("key", request(1), retry=False)).text == "from the batch"
    assert not held.takes("key")
    assert teacher.requests == []
    ledger.close()


async def test_an_answer_dearer_than_its_price_is_learned_from_in_a_batch_too(tmp_path):
    """Later attempts reserve what the provider really charges, in this run and, by the ledger, in the next one."""

    class Dear(ScriptedTeacher):
        batched, most_requests, most_bytes = True, 9, 10**6

        def cost(self, prompt_tokens, completion_tokens):
            return 100

        async def submit(self, requests, token):
            return "batch_7"

        async def find(self, token):
            return None

        async def collect(self, batch, requests):
            return dict.fromkeys(requests, Reply("dear", nano_dollars=300))

    with Ledger.writing(tmp_path / "ledger.sqlite") as ledger:
        teacher, budget = Dear(lambda _: ""), Budget(Purse(None, 0))
        attempts = Attempts(teacher, ledger, budget, TeacherCounter(), stop := StopSignal())
        dear = batches.ProviderBatchSender(teacher, attempts, nobody(), stop, lambda: False)
        assert dear.takes("key")
        assert (await dear.reply("key", request(1), retry=False)).nano_dollars == 300
        assert budget.overrun == ledger.meta("overrun") == 3
        assert (budget.own.spent, budget.own.reserved) == (300, 0)
        stop.trip(RtError("the run ended"))
        await dear.close()


async def test_while_it_waits_it_says_for_what(tmp_path):
    """The name of the batch and how far it has come, or why the provider cannot be asked."""
    said = [TeacherError("overloaded", "out of order"), Pending(3, 12), {"key": Reply("at last")}]

    class Slow(ScriptedTeacher):
        batched, most_requests, most_bytes = True, 9, 10**6

        async def submit(self, requests, token):
            return "batch_7"

        async def find(self, token):
            return None

        async def collect(self, batch, requests):
            end = said.pop(0)
            if isinstance(end, TeacherError):
                raise end
            return end

    ledger = Ledger.writing(tmp_path / "ledger.sqlite")
    held = sender(Slow(lambda _: ""), ledger, 0, stop := StopSignal())
    assert held.takes("key")
    assert held.why() == ""
    answer = asyncio.create_task(held.reply("key", request(1), retry=False))
    words = set()
    while not answer.done():
        await asyncio.sleep(0.005)
        words.add(held.why())
    assert words >= {
        "gathering 1 question into a batch",
        "waiting for the provider's batch batch_7 of 1 question, no answer from the provider yet: out of order",
    }
    assert "waiting for the provider's batch batch_7 of 1 question, 3 of 12 done" in words
    assert answer.result().text == "at last"
    stop.trip(RtError("the run ended"))
    await held.close()
    assert (held.why(), held.left) == ("", 0)
    ledger.close()
