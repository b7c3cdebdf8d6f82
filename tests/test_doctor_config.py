"""`rt doctor CONFIG`: what would keep a run from working is named with the way out, without a question or a model."""

from __future__ import annotations

import inspect
import io
import json
import re
import shutil
import socket
import threading
from types import SimpleNamespace

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
    def url(self):
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def teacher(self):
        return {"litellm": {"model": "hosted_vllm/mine", "api_base": self.url}}


# --- broken set-ups ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of a few kilobytes with a window of 512 tokens, which each test gets a copy of."""
    tiny_models = pytest.importorskip("tests.tiny_models")
    folder = tmp_path_factory.mktemp("tiny")
    return tiny_models.save(folder, tiny_models.llama(window=512), tiny_models.tokenizer(chat=tiny_models.CHAT))


@pytest.fixture
def model(tiny, tmp_path):
    """A copy of it, to break."""
    return shutil.copytree(tiny, tmp_path / "model")


ASKED = {"teacher": "litellm:openai/gpt-4o-mini"}
LONG_NOTE = "Please note that this answer cannot replace the advice of somebody who knows your own boat very well."


def _without_key(monkeypatch, **_):
    monkeypatch.delenv("OPENAI_API_KEY")
    return ASKED


def _other_server(monkeypatch, server, **_):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    return ASKED


def _dead_server(monkeypatch, **_):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OPENAI_API_BASE", f"http://127.0.0.1:{free.getsockname()[1]}/v1")
    return ASKED


def _small_disk(monkeypatch, **_):
    monkeypatch.setattr("rt_framework.jobs.config_checks.shutil.disk_usage", lambda _: SimpleNamespace(free=2**28))
    return {}


def _small_memory(monkeypatch, model, **_):
    monkeypatch.setattr("rt_framework.builtin.students.hf_look._room", lambda _: (2**10, 2**12))
    return {"student": f"hf:{model}"}


def _lacking_shard(model, **_):
    (model / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    write_json(model / "model.safetensors.index.json", index)
    return {"student": f"hf:{model}"}


def _gguf_in_a_folder(model, **_):
    (model / "model.safetensors").rename(model / "model.q8_0.gguf")
    return {"student": f"hf:{model}"}


def _half_a_download(model, **_):
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return {"student": f"hf:{model}"}


def _without_template(model, **_):
    (model / "chat_template.jinja").unlink()
    return {"student": f"hf:{model}"}


def _long_rows(model, **_):
    return {"student": f"hf:{model}", "data": [one | {"output": "Boats float. " * 200} for one in rows(6)]}


def _noted_rows(**_):
    return {"data": [one | {"output": f"{one['output']} {LONG_NOTE}"} for one in rows(6)]}


BROKEN = {
    "no key": (_without_key, 2, "WRONG teacher: key OPENAI_API_KEY is not set: export it before the run"),
    "misspelt model": (
        {"teacher": "litellm:openai/gpt-4o-minni"},
        0,
        "CHECK teacher: model litellm's list has no 'gpt-4o-minni' of openai; did you mean gpt-4o-mini",
    ),
    "no such provider": (
        {"teacher": "litellm:foo/bar"},
        2,
        "WRONG teacher: model litellm knows no provider of 'foo/bar': write PROVIDER/MODEL",
    ),
    "server with another model": (
        _other_server,
        2,
        "serves yours, and not 'gpt-4o-mini': correct the model, or OPENAI_BASE_URL",
    ),
    "server that is off": (_dead_server, 2, "start it, or correct OPENAI_API_BASE"),
    "schema that the model does not take": (
        {"teacher": {"litellm": {"model": "openai/gpt-3.5-turbo", "structured": True}}},
        0,
        "CHECK teacher: schema structured is true, and litellm's list says that the model takes no JSON schema: leave",
    ),
    "budget without a price": (
        {"teacher": "litellm:openai/gpt-4o-minni", "limits": {"budget_usd": 1}},
        2,
        "WRONG teacher: budget there is a budget, and the price of this teacher is not known: give input_price",
    ),
    "budget below one call": (
        ASKED | {"limits": {"budget_usd": 0.0001}},
        2,
        "more than limits.budget_usd of $0.0001: give a larger limits.budget_usd, or the reflection a smaller",
    ),
    "disk nearly full": (_small_disk, 0, "CHECK disk 0.2 GiB free in "),
    "student that is not there": (
        {"student": "hf:/nowhere/model"},
        2,
        "WRONG student model '/nowhere/model' does not exist: no such file or directory",
    ),
    "student that cannot be reached": (
        {"student": "hf:org/no-such-model-of-rt"},
        2,
        "Give a hub id, a directory or a .gguf file",
    ),
    "student larger than the memory": (_small_memory, 2, "WRONG student: memory 0.00 GiB for 0 million parameters"),
    "missing part of the weights": (
        _lacking_shard,
        2,
        "lacks model-00001-of-00002.safetensors and 1 more of its weights: download it again",
    ),
    "folder of GGUF files": (_gguf_in_a_folder, 2, "is a directory of GGUF files: name one of them, such as "),
    "half a download": (_half_a_download, 2, "bytes and is cut off: download it again"),
    "no chat template": (
        _without_template,
        2,
        "no whole score: 6 no_template: name a template in scoring.template, such as alpaca",
    ),
    "rows longer than the window": (
        _long_rows,
        2,
        "of the first 6 rows these have no whole score: 6 no_room: give a larger scoring.max_tokens if the student",
    ),
    "max_tokens beyond the window": (
        lambda model, **_: {"student": f"hf:{model}", "scoring": {"preset": "chat", "max_tokens": 4096}},
        0,
        "CHECK student: max_tokens the student reads 512 tokens at most, and max_tokens is 4,096",
    ),
    "columns of other names": (
        {"data": [{"question": "a", "answer": "b"}]},
        2,
        "found question, answer; alpaca needs instruction and output",
    ),
    "equal rows": (
        {"data": [*rows(2), *rows(2)]},
        0,
        "CHECK data: rows of 4 rows 0 without instruction or response, 2 equal to an earlier row; take them out",
    ),
    "a passage in every answer": (
        _noted_rows,
        0,
        "CHECK data: passages the answers of 6 of 6 rows (100 %) hold the same passage, 'Please note that this answer",
    ),
}
"""Set-ups that do not work or are doubtful: how they come about, the exit code, and what the doctor says."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_set_up_is_named_with_the_way_out(name, doctor, monkeypatch, request):
    """And no weights are loaded for it."""
    monkeypatch.setattr("rt_framework.builtin.models.load", lambda *_: pytest.fail("the model was loaded"))
    for variable in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    made, code, said = BROKEN[name]
    with Served({"data": [{"id": "yours"}]}) as server:
        if callable(made):
            model = request.getfixturevalue("model") if "model" in inspect.signature(made).parameters else None
            made = made(monkeypatch=monkeypatch, server=server, model=model)
        found, out = doctor(**made)
    assert said in out, out
    assert found == code


def test_a_student_is_described_before_its_weights_are_loaded(doctor, model):
    """Its place and its size, and what its tokenizer does."""
    code, said = doctor(student=f"hf:{model}", scoring={"preset": "chat"})
    assert code == 0, said
    assert re.search(r"ok student: device (cpu, float32|cuda, bfloat16) ", said)
    assert re.search(
        r"ok student: memory 0\.00 GiB for 0 million parameters in (bfloat16|float32); .* GiB are free; ", said
    )
    assert "ok student: BOS the tokenizer puts none before a text" in said
    assert "ok student: chat template there" in said and "ok student: window 512 tokens" in said
    code, said = doctor(student={"hf": {"model": str(model), "device": "cuda:99"}})
    assert code == 2 and "cuda:99 is asked for, and torch finds " in said and "correct device" in said


def test_a_server_that_the_environment_names_is_asked_for_its_models(doctor, monkeypatch):
    """As litellm obeys the variable: with the key, and before a provider's own list of models."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    with Served({"data": [{"id": "mine"}]}) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, said = doctor(teacher="litellm:openai/mine")
        assert code == 0 and f"ok teacher: server {server.url} serves 'mine'" in said
        assert server.asked == [("/v1/models", "Bearer sk-own")]
        doctor(teacher="litellm:anthropic/claude-sonnet-4-5")
        assert len(server.asked) == 1


def test_a_terminal_shows_what_was_found_last_while_it_waits(monkeypatch):
    """On a line that goes away; nothing in a pipe."""
    from rich.console import Console

    from rt_framework.model import Finding
    from rt_framework.terminal import findings

    found = [Finding("key", "set"), Finding("price", "known")]
    for terminal in (True, False):
        drawn = io.StringIO()
        console = Console(file=drawn, force_terminal=terminal, width=60)
        monkeypatch.setattr(findings, "stdout", lambda console=console: console)
        seen = []
        for one in findings.watched(found):
            seen.append(one)
            console.print("")  # which draws the line anew
        assert seen == found
        assert ("looking; the last finding: price" in drawn.getvalue()) is terminal


# --- teachers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "variable"),
    [("openai/gpt-4o-mini", "OPENAI_API_KEY"), ("anthropic/claude-sonnet-4-5", "ANTHROPIC_API_KEY")],
)
def test_a_missing_key_is_named(model, variable, doctor, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    code, said = doctor(teacher=f"litellm:{model}")
    assert code == 2 and f"WRONG teacher: key {variable} is not set: export it before the run" in said
    monkeypatch.setenv(variable, " ")
    code, said = doctor(teacher=f"litellm:{model}")
    assert code == 2 and f"WRONG teacher: key {variable} is set, but empty: export the key before the run" in said
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
