"""No secret is written: a canary key through every failure of a provider, 0 hits in run directory and output."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import pytest

from rt_framework import TeacherError, hookimpl
from rt_framework.builtin.teachers.litellm import LiteLLMTeacher
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.testing import FakeStudent, ScriptedTeacher
from rt_framework.testing.fakes import rewriting
from rt_framework.testing.server import FAULTS, Fault, FaultServer
from rt_framework.text import without_secrets
from tests import fakes_plugin
from tests.reliability.jobs import http_job
from tests.run_helpers import SELECTIVE, http_answer, request, rows, write_json

KEY = "sk-canary+0123456789/abcdef=="
"""With characters that addresses and headers write otherwise."""
OTHER = "canary-without-any-known-form"
"""Of a variable that is named as a secret; no pattern knows it."""
PROVIDERS = ("openai", "hosted_vllm")


def forms(secret: str) -> Iterable[bytes]:
    """Yield the forms in which a secret may be written: as it is, without its beginning, URL-quoted, or in base64."""
    yield secret.encode()
    yield secret[3:].encode()
    yield quote(secret, safe="").encode()
    yield quote(secret).encode()
    for before in ("", "x", "xx"):
        # The ends depend on what stands there.
        yield base64.b64encode((before + secret).encode())[4:-4]


def hits(folder: Path, *shown: str) -> list[str]:
    """Return the places where a secret was found: paths of files below *folder*, and beginnings of *shown* texts."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    texts = {str(path): path.read_bytes() for path in files} | {text[:60]: text.encode() for text in shown}
    return [place for place, text in texts.items() for key in (KEY, OTHER) for form in forms(key) if form in text]


@pytest.fixture(autouse=True)
def canaries(monkeypatch, rt):
    """The environment holds two secrets."""
    for name in PROVIDERS:
        monkeypatch.setenv(f"{name.upper()}_API_KEY", KEY)
    monkeypatch.setenv("ACME_TOKEN", OTHER)


@pytest.fixture(scope="module", autouse=True)
def loaded(tmp_path_factory):
    """Litellm is imported, and its clients have been used: that takes longer than the time limit of these tests."""

    async def once(provider: str, url: str) -> None:
        teacher = LiteLLMTeacher(LiteLLMSettings(f"{provider}/fake-model", url))
        await teacher.complete(request())
        await teacher.aclose()

    with FaultServer(lambda body: "hello") as server, pytest.MonkeyPatch.context() as patch:
        for name in PROVIDERS:
            patch.setenv(f"{name.upper()}_API_KEY", KEY)
            asyncio.run(once(name, server.url))


def settings(server: FaultServer, provider: str) -> dict[str, object]:
    """Of a job whose attempts end after two seconds."""
    teacher: dict[str, object] = {"model": f"{provider}/fake-model", "api_base": server.url, "structured": True}
    return {"teacher": {"litellm": teacher}, "limits": {"concurrency": 4, "attempts": 1, "timeout": 2}}


CASES = [
    *((fault, PROVIDERS[0]) for fault in FAULTS),
    # The other provider has another name for its key and another way through litellm; it meets a third of the faults.
    *((fault, PROVIDERS[1]) for fault in list(FAULTS)[:: 1 if os.environ.get("RT_RELIABILITY") == "large" else 3]),
]


@pytest.mark.parametrize(("fault", "provider"), CASES)
def test_no_failure_of_a_provider_writes_the_key(fault, provider, tmp_path, rt, size):
    """Refusals that repeat it, broken transfers, odd answers: in no byte of ledger, log, manifest and outputs, and in
    nothing that `rt run`, `status` and `explain` show.
    """
    with FaultServer(http_answer, lambda number, body: Fault(fault) if number % 2 else None) as server:
        config = http_job(tmp_path, server, rows(size(4, 40)), **settings(server, provider))
        done = rt("run", config, "--run-dir", tmp_path / "run", "--reporter", "console")
        assert any(request.fault for request in server.received)
    shown = [
        done,
        rt("status", tmp_path / "run"),
        rt("explain", tmp_path / "run", "0", "--prompts"),
        rt("doctor", config),
    ]
    assert done.code in (0, 1, 3), done
    assert hits(tmp_path / "run", *(text for one in shown for text in (one.out, one.err) if text)) == []


def quoting() -> Exception:
    """Return an error that quotes both secrets, as a careless library may raise it."""
    return RuntimeError(f"401 for {KEY} and {OTHER}, header Basic {base64.b64encode(OTHER.encode()).decode()}")


class Quoting(FakeStudent):
    """A student that quotes keys when it fails."""

    def score(self, batch):
        raise quoting()


def wrong(request):
    """A careless teacher's answer."""
    raise quoting() if request.reflection == "instruction" else TeacherError("refused", str(quoting()))


class Gossip:
    """A reporter that fails with a key in its mouth."""

    @hookimpl
    def rt_run_started(self, event):
        raise quoting()


@pytest.mark.parametrize(
    ("teacher", "student"),
    [(ScriptedTeacher(wrong), FakeStudent()), (ScriptedTeacher(rewriting), Quoting())],
    ids=["teacher", "student"],
)
def test_a_plugin_that_quotes_a_key_does_not_spread_it(teacher, student, tmp_path, rt, monkeypatch, caplog):
    """Exceptions of a third party's teacher, student and reporter: `***` stands where the secret was."""
    monkeypatch.setitem(fakes_plugin.HELD, "teacher", teacher)
    monkeypatch.setitem(fakes_plugin.HELD, "student", student)
    raw = {
        "data": {"path": str(write_json(tmp_path / "data.json", rows(3)))},
        "teacher": "held:teacher",
        "student": "held:student",
        "scoring": {"preset": "selective-rt"},
        "pipeline": SELECTIVE,
    }
    config = write_json(tmp_path / "job.yaml", raw)
    done = rt("run", config, "--run-dir", tmp_path / "run")
    shown = [done, rt("status", tmp_path / "run"), rt("explain", tmp_path / "run", "0", "--prompts")]
    assert "401 for ***" in "".join(one.out + one.err for one in shown)
    assert hits(tmp_path / "run", *(one.out + one.err for one in shown), caplog.text or "nothing") == []


def test_a_fault_of_ours_shows_no_key(tmp_path, rt, monkeypatch):
    """A traceback is cleaned too; so is the one line of an error, and what is said of a reporter that is left out."""
    from rt_framework.errors import ConfigError
    from rt_framework.plugin.host import Reporters

    def fail(error):
        def raising(*_):
            raise error

        return raising

    for error in (quoting(), ConfigError(str(quoting()))):
        monkeypatch.setattr("rt_framework.config.read_config", fail(error))
        done = rt("run", tmp_path / "job.yaml")
        assert "401 for *** and ***" in done.err
        assert KEY not in done.err and OTHER not in done.err
    reporters = Reporters([Gossip()])
    reporters.send("rt_run_started", None)
    assert "401 for *** and ***" in reporters.failed[0]


def test_ordinary_text_stays(monkeypatch):
    """Only values of variables that are named as secrets, and none so short that words would go."""
    monkeypatch.setenv("SHORT_KEY", "in")
    monkeypatch.setenv("SSH_KEY_PATH", "instruction")
    text = "an instruction in plain words"
    assert without_secrets(text) == text
