"""`rt doctor CONFIG --ask`: what a few questions find out about the teachers of a config."""

from __future__ import annotations

import json
import re
import threading
import time

import pytest

from rt_framework.testing.attacks import Attack, placed
from rt_framework.testing.server import Fault, FaultServer
from rt_framework.testing.wire import RawAnswer
from tests.reliability.jobs import Commands, http_job, litellm_at
from tests.run_helpers import http_answer, rows

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")


@pytest.fixture
def rt(monkeypatch, capfd):
    return Commands(monkeypatch, capfd)


def plain(body) -> str:
    """A server that follows no schema."""
    return "Blue, I think."


def held(body) -> str:
    """A server that follows the schema of a request."""
    if "response_format" not in body:
        return "yes"
    names = body["response_format"]["json_schema"]["schema"]["properties"]
    return json.dumps({"colour": "blue", "letters": 4}) if "colour" in names else http_answer(body)


def asked(rt, tmp_path, server, **options):
    done = rt("doctor", http_job(tmp_path, server, rows(6), teacher=litellm_at(server, **options)), "--ask")
    return done, re.sub(r"\s+", " ", done.out)


def test_a_server_that_fits_is_told(rt, tmp_path):
    with FaultServer(held) as server:
        done, said = asked(rt, tmp_path, server)
        assert done.code == 0, done.out
        assert "fake-model answers in" in said
        assert "it does not think before it answers" in said
        assert "it follows a JSON schema" in said
        longest = max(len(m["content"].encode()) for one in server.received for m in one.body["messages"])
        assert "the longest question of the data" in said and longest > 500
        assert "set concurrency:" in said
        assert not list(tmp_path.glob("run*"))


@pytest.mark.parametrize(
    ("answer", "options", "code", "said"),
    [
        (plain, {"structured": True}, 2, "it does not follow a JSON schema (it said 'Blue, I think.'): set structured"),
        (held, {"structured": False}, 0, "it follows a JSON schema: set structured: true"),
        (plain, {"structured": False}, 0, "it follows no JSON schema"),
    ],
)
def test_the_setting_for_schemas_is_compared(answer, options, code, said, rt, tmp_path):
    with FaultServer(answer) as server:
        done, out = asked(rt, tmp_path, server, **options)
    assert done.code == code and said in out


def test_a_model_that_thinks_needs_room(rt, tmp_path):
    with FaultServer(held) as server:
        server.reasoning_tokens = 30
        assert "set reasoning_tokens: 4096" in asked(rt, tmp_path, server)[1]
        assert "has 500 tokens for that" in asked(rt, tmp_path, server, reasoning_tokens=500)[1]


def test_a_question_that_is_too_long_is_found_out(rt, tmp_path):
    """Refused by the server; and cut by a server that says nothing of it but counts few tokens."""

    def refuses(_, body):
        return Fault("too_long") if len(body["messages"][-1]["content"]) > 300 else None

    with FaultServer(held, refuses) as server:
        done, said = asked(rt, tmp_path, server)
        assert done.code == 2 and "is longer than the model reads" in said

    def cuts(_, body):
        few = Attack("cut", lambda honest: RawAnswer(placed(honest, "usage.prompt_tokens", "40")), "either")
        return few if len(body["messages"][-1]["content"]) > 300 else None

    with FaultServer(held, cuts) as server:
        done, said = asked(rt, tmp_path, server)
        assert done.code == 0 and "the server may cut long prompts without a word" in said


def test_a_server_that_does_not_answer_is_wrong(rt, tmp_path):
    with FaultServer(held, lambda *_: Fault("auth")) as server:
        done, said = asked(rt, tmp_path, server)
        assert (done.code, len(server.received)) == (2, 1)
        assert "WRONG teacher auth:" in said


def test_the_number_of_questions_at_once_is_measured(rt, tmp_path):
    """A server that works on four at once: sixteen take four times as long, however busy the machine is."""
    seats = threading.Semaphore(4)

    def slow(body):
        with seats:
            time.sleep(0.4)
        return held(body)

    with FaultServer(slow) as server:
        _, said = asked(rt, tmp_path, server)
    assert re.search(r"with (4|8) questions at once, more at once give little more: set concurrency: \1", said), said


def test_a_config_is_needed(rt, tmp_path):
    done = rt("doctor", "--ask")
    assert done.code == 2 and "--ask needs a CONFIG" in done.err
