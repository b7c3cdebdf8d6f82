"""`rt doctor CONFIG`: what would keep a run from working is named with the way out, without a question or a model."""

from __future__ import annotations

import json
import re
import socket
import threading

import pytest

from rt_framework.testing.http_server import BreakableServer, QuietHandler
from rt_framework.testing.wire import told
from tests.reliability.jobs import Commands
from tests.run_helpers import rows, write_json

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")


@pytest.fixture
def doctor(monkeypatch, capfd, tmp_path):
    """The findings about a config with these keys."""
    rt = Commands(monkeypatch, capfd)

    def found(data=None, **keys):
        path = write_json(tmp_path / "data.json", rows(6) if data is None else data)
        pipeline = {"use": "selective-rt" if "teacher" in keys else "cherry"}
        raw = {"data": {"path": str(path)}, "student": "fake", "pipeline": pipeline} | keys
        done = rt("doctor", write_json(tmp_path / "rt.yaml", raw))
        return done.code, re.sub(r"\s+", " ", done.out)

    return found


class _Models(QuietHandler):
    """A server that only lists its models."""

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.asked.append((self.path, self.headers.get("Authorization")))
        self.send_raw(told(owner.answer, owner.status))


class Served:
    """A server with what it lists and what it was asked."""

    def __init__(self, answer, status=200):
        self.answer, self.status, self.asked = answer, status, []

    def __enter__(self):
        self._http = BreakableServer(self, _Models)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._thread.join()
        self._http.hang_up()
        self._http.server_close()

    @property
    def teacher(self):
        url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        return {"litellm": {"model": "hosted_vllm/mine", "api_base": url}}


@pytest.mark.parametrize(
    ("model", "variable"),
    [("openai/gpt-4o-mini", "OPENAI_API_KEY"), ("anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY")],
)
def test_a_missing_key_is_named(model, variable, doctor, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    code, said = doctor(teacher=f"litellm:{model}")
    assert code == 2 and f"WRONG teacher: key {variable} is not set: export it before the run" in said
    monkeypatch.setenv(variable, "sk-test")
    code, said = doctor(teacher=f"litellm:{model}")
    assert code == 0 and "ok teacher: key set" in said and "per million prompt tokens" in said


def test_a_misspelt_model_is_a_hint(doctor):
    """It may be a new one, so it is no error; without a price a budget is one."""
    code, said = doctor(teacher="litellm:openai/gpt-4o-minni")
    assert code == 0 and "has no 'gpt-4o-minni' of openai; did you mean gpt-4o-mini" in said
    code, said = doctor(teacher="litellm:openai/gpt-4o-minni", limits={"budget_usd": 1})
    assert code == 2 and "WRONG teacher: budget there is a budget, and the price of this teacher is not known" in said


def test_an_unknown_provider_is_wrong(doctor):
    code, said = doctor(teacher="litellm:foo/bar")
    assert code == 2 and "litellm knows no provider of 'foo/bar'" in said


def test_a_server_that_is_not_there_is_wrong(doctor):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/v1"
    code, said = doctor(teacher={"litellm": {"model": "hosted_vllm/mine", "api_base": address}})
    assert code == 2 and f"no answer from {address} within 5 s" in said and "start it, or correct api_base" in said


@pytest.mark.parametrize(
    ("answer", "status", "code", "said"),
    [
        ({"data": [{"id": "mine"}]}, 200, 0, "serves 'mine'"),
        (
            {"data": [{"id": "yours"}, {"id": "theirs"}]},
            200,
            2,
            "serves yours, theirs, and not 'mine'",
        ),
        ({"error": "no"}, 401, 2, "does not accept the key (status 401)"),
        ({"data": [{"id": 7}]}, 200, 0, "answers, but lists no models (status 200)"),
        ("nothing", 404, 0, "answers, but lists no models (status 404)"),
    ],
)
def test_a_server_says_what_it_serves(answer, status, code, said, doctor, monkeypatch):
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", "sk-own")
    with Served(answer, status) as server:
        found, out = doctor(teacher=server.teacher)
    assert (found, said in out) == (code, True), out
    assert server.asked == [("/v1/models", "Bearer sk-own")]
    assert "sk-own" not in out


def test_a_student_that_is_not_there_is_wrong(doctor):
    code, said = doctor(student="hf:/nowhere/model")
    assert code == 2 and "WRONG student model '/nowhere/model' does not exist" in said


@pytest.mark.model
def test_a_student_is_looked_at_without_its_weights(doctor, smollm2, monkeypatch):
    """The rows stand before its tokenizer; the model itself is not loaded."""
    from rt_framework.builtin import models

    monkeypatch.setattr(models, "load_model", lambda *_: pytest.fail("the model was loaded"))
    code, said = doctor(student=f"hf:{smollm2}", scoring={"preset": "chat"})
    assert code == 0 and "the first 6 rows fit; the longest has" in said
    code, said = doctor(student=f"hf:{smollm2}", scoring={"preset": "chat", "max_tokens": 20})
    assert code == 2 and "of the first 6 rows these have no whole score: 6" in said


def test_empty_and_equal_rows_are_counted(doctor):
    one, other = rows(2)
    code, said = doctor(data=[one, other, one, other | {"output": " "}])
    assert code == 0
    assert "CHECK data: rows of 4 rows 1 without instruction or response, 1 equal to an earlier row" in said


def test_a_config_that_fits_has_nothing_wrong(doctor, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    code, said = doctor(teacher="litellm:openai/gpt-4o-mini", limits={"budget_usd": 1})
    assert code == 0 and said.strip().endswith("nothing is wrong") and "GiB free" in said


def test_a_program_gets_the_findings_as_json(monkeypatch, capfd, tmp_path):
    """With nothing around them, and the same exit code."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    rt = Commands(monkeypatch, capfd)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path = write_json(tmp_path / "data.json", rows(2))
    raw = {"data": {"path": str(path)}, "student": "fake", "teacher": "litellm:openai/gpt-4o-mini"}
    config = write_json(tmp_path / "rt.yaml", raw | {"pipeline": {"use": "selective-rt"}})
    done = rt("doctor", config, "--json")
    found = {one["what"]: one for one in json.loads(done.out)["findings"]}
    assert done.code == 2
    assert (found["teacher: key"]["mark"], found["teacher: key"]["good"]) == ("WRONG", False)
    assert found["teacher: price"] == {
        "what": "teacher: price",
        "finding": "$0.15 per million prompt tokens, $0.6 per million answer tokens",
        "good": True,
        "sure": True,
        "mark": "ok",
    }


def test_a_part_of_a_package_can_be_looked_at(doctor, monkeypatch):
    """By its method `look`, whose findings stand under its name."""
    from rt_framework.model import Finding
    from rt_framework.testing.fakes import FakeStudent

    monkeypatch.setattr(FakeStudent, "look", lambda _: [Finding("licence", "has run out", good=False)], raising=False)
    code, said = doctor()
    assert code == 2 and "WRONG student: licence has run out" in said
