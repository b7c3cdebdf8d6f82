"""Models that think before they answer: their tokens, the room for them, and answers that thinking took up."""

from __future__ import annotations

import asyncio

import pytest

from rt_framework.builtin.teachers.litellm import LiteLLMTeacher
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.model import Reply, Request, Sampling, Turn
from rt_framework.plugin import Host
from rt_framework.results import open_run
from rt_framework.testing.server import FaultServer
from tests.reliability.jobs import Commands, http_job, litellm_at
from tests.run_helpers import attempts, http_answer, rows

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")


@pytest.fixture
def rt(monkeypatch, capfd):
    return Commands(monkeypatch, capfd)


def teacher_at(server: FaultServer, **more: object) -> dict[str, object]:
    found = litellm_at(server)
    return {"litellm": found["litellm"] | {"input_price": 1.0, "output_price": 10.0} | more}


def test_a_model_that_thinks_all_its_tokens_away_stops_the_run(rt, tmp_path):
    """Within ten calls, with the mend; with it the same command goes on, and asks the same questions again."""
    with FaultServer(http_answer) as server:
        server.reasoning_tokens = 2000
        limits = {"budget_usd": 1, "concurrency": 32}
        config = http_job(tmp_path, server, rows(60), teacher=teacher_at(server), limits=limits)
        done = rt("run", config, "--run-dir", tmp_path / "run")
        assert done.code == 3
        assert "answers have no text, because the model spent all tokens of the answer on reasoning" in done.err
        assert "allow more with reasoning_tokens in the teacher's settings (0 now)" in done.err
        sent = len(server.received)
        assert 4 <= sent <= 10
        longest = {one.body["max_tokens"] for one in server.received}
        with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
            (bill,) = run.cost.bills
            assert bill.usage.reasoning_tokens == bill.usage.completion_tokens == sent * max(longest)
            assert bill.charge.reasoning == 10_000 * bill.usage.reasoning_tokens
            assert bill.charge.total == bill.nano_dollars

        limits = {"budget_usd": 10}
        more = http_job(tmp_path, server, rows(60), teacher=teacher_at(server, reasoning_tokens=4000), limits=limits)
        done = rt("run", more, "--run-dir", tmp_path / "run")
        assert done.code == 0, done.err
        assert {one.body["max_tokens"] for one in server.received[sent:]} == {4000 + most for most in longest}
        assert attempts(tmp_path / "run") == {("answered", ""): len(server.received)}
        asked_again = [one.body["messages"] for one in server.received[:sent]]
        assert all(any(one.body["messages"] == messages for one in server.received[sent:]) for messages in asked_again)

        count = len(server.received)
        assert rt("run", more, "--run-dir", tmp_path / "run").code == 0
        assert len(server.received) == count  # nothing is asked a third time
        shown = rt("explain", tmp_path / "run", "0", "--prompts").out
        assert "of them reasoning" in shown and "reasoning:\nThe question has two sides." in shown


def test_some_thought_away_fail_their_samples_alone(rt, tmp_path):
    """A run goes on if most answers have text; such an answer is paid for once, not asked for in vain again."""
    count = iter(range(10**6))

    def sometimes(body):
        server.reasoning_tokens = 5000 if next(count) % 10 == 9 else 0
        return http_answer(body)

    with FaultServer(sometimes) as server:
        config = http_job(
            tmp_path, server, rows(40), teacher=teacher_at(server), limits={"concurrency": 1, "answers": 3}
        )
        done = rt("run", config, "--run-dir", tmp_path / "run")
        assert done.code == 0, done.err
        assert "all_reasoning" in done.out
        with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
            kinds = {failure.kind for history in run for failure in history.sample.failures}
        assert kinds == {"all_reasoning"}
        assert attempts(tmp_path / "run") == {("answered", ""): len(server.received)}


@pytest.mark.parametrize("apart", [True, False])
def test_reasoning_is_kept_apart_from_the_answer(apart, monkeypatch):
    """From a server that gives it beside the text, and from one whose texts begin with it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    request = Request("echo", "pair", 0, (Turn("user", "What floats?"),), Sampling(max_tokens=100))

    async def asked(server: FaultServer) -> Reply:
        teacher = LiteLLMTeacher(LiteLLMSettings("openai/fake-model", server.url))
        try:
            return await teacher.complete(request)
        finally:
            await teacher.aclose()

    text = "A cork." if apart else "<think>\nThe question has two sides.\n</think>\n\nA cork."
    with FaultServer(lambda _: text) as server:
        server.reasoning_tokens = 7 if apart else 0
        reply = asyncio.run(asked(server))
    assert (reply.text, reply.reasoning) == ("A cork.", "The question has two sides.")
    assert reply.usage.reasoning_tokens == (7 if apart else 0)
    with FaultServer(lambda _: "<think>\nThe question has" + " more" * 200) as server:
        cut = asyncio.run(asked(server))
        assert not cut.all_reasoning  # a server that says that it ended
    assert Reply("", "length", reasoning="The question").all_reasoning


def test_the_default_room_is_for_models_that_think():
    """As litellm's list says; Claude thinks if it is asked to."""

    def room(model: str, **more: object) -> int:
        return LiteLLMTeacher(LiteLLMSettings(model, **more)).reasoning_tokens

    assert [room("gpt-4o-mini"), room("openai/o3"), room("gemini/gemini-2.5-pro"), room("hosted_vllm/m")] == [
        *(0, 4096, 4096, 0)
    ]
    assert room("anthropic/claude-sonnet-4-5") == 0
    assert room("anthropic/claude-sonnet-4-5", extra={"reasoning_effort": "low"}) == 4096
    assert room("openai/o3", reasoning_tokens=100) == 100


def test_the_room_is_reserved_and_quoted(rt, tmp_path):
    """The most that a run can cost has all tokens of reasoning; what it costs is below."""
    with FaultServer(http_answer) as server:
        server.reasoning_tokens = 300
        without = quoted(rt, http_job(tmp_path, server, rows(5), teacher=teacher_at(server)), tmp_path)
        config = http_job(tmp_path, server, rows(5), teacher=teacher_at(server, reasoning_tokens=1000))
        most = quoted(rt, config, tmp_path)
        assert most > without
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
        with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
            assert 0 < run.cost.dollars <= most


def quoted(rt, config, folder) -> float:
    done = rt("run", config, "--run-dir", folder / "none", "--dry-run")
    assert done.code == 0, done.err
    line = next(line for line in done.out.splitlines() if line.strip().startswith("cost"))
    return float(line.split("$")[-1])
