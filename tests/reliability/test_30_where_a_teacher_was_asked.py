"""Manifest, ledger and card name where the teacher was asked, and no server of one's own passes for a provider."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rt_framework.builtin.teachers.litellm import LiteLLMTeacher, _litellm
from rt_framework.builtin.teachers.places import place, provider_of, variables
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.errors import ConfigError
from rt_framework.export.hub import export_hub
from rt_framework.jobs.quoting import quote
from rt_framework.jobs.running import RunMode, run
from rt_framework.kit.places import PlacedTeacher, cleaned, in_words, origin
from rt_framework.ledger.ledger import Ledger
from rt_framework.plugin.host import Host
from rt_framework.report import write_report
from rt_framework.testing.fakes import FakeStudent, ScriptedTeacher, rewriting
from rt_framework.testing.server import FaultServer
from tests import fakes_plugin
from tests.helpers import Cli
from tests.reliability.jobs import http_job, litellm_at, priced_at
from tests.run_helpers import SELECTIVE, Priced, http_answer, job, rows

# --- where litellm asks -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "api_base", "environment", "found"),
    [
        ("openai/gpt-4o-mini", None, {}, "openai"),
        ("gpt-4o-mini", None, {}, "openai"),
        ("openai/gpt-4o-mini", "http://127.0.0.1:8000/v1", {}, "http://127.0.0.1:8000"),
        ("openai/gpt-4o-mini", "https://me:pw@API.example.com/v1?key=sk-1#x", {}, "https://api.example.com:443"),
        ("openai/gpt-4o-mini", "http://[::1]/v1", {}, "http://[::1]:80"),
        ("openai/gpt-4o-mini", None, {"OPENAI_BASE_URL": "http://localhost:1/v1"}, "http://localhost:1"),
        ("gpt-4o-mini", None, {"OPENAI_API_BASE": "http://localhost:1/v1"}, "http://localhost:1"),
        ("openai/m", "https://a.b", {"OPENAI_API_BASE": "http://localhost:1"}, "https://a.b:443"),
        ("anthropic/claude", None, {"OPENAI_API_BASE": "http://localhost:1"}, "anthropic"),
        ("anthropic/claude", None, {"ANTHROPIC_BASE_URL": "https://gw.example.com"}, "https://gw.example.com:443"),
        ("azure/dep", None, {"AZURE_API_BASE": "https://me.openai.azure.com/"}, "https://me.openai.azure.com:443"),
        ("hosted_vllm/m", None, {"HOSTED_VLLM_API_BASE": "http://127.0.0.1:8000/v1"}, "http://127.0.0.1:8000"),
        ("ollama_chat/m", None, {"OLLAMA_API_BASE": "http://127.0.0.1:11434"}, "http://127.0.0.1:11434"),
        ("watsonx/m", None, {"WATSONX_URL": "https://eu.ml.cloud.ibm.com"}, "https://eu.ml.cloud.ibm.com:443"),
        ("openai/m", None, {"OPENAI_BASE_URL": "", "OPENAI_API_BASE": ""}, "openai"),
        (
            "openai/m",
            None,
            {"OPENAI_BASE_URL": "https://a.b/v1", "OPENAI_API_BASE": "https://c.d/v1"},
            "https://c.d:443 or https://a.b:443",
        ),
    ],
)
def test_a_place_is_the_provider_or_the_server_that_is_asked_in_its_stead(model, api_base, environment, found):
    """By setting, else by environment; of an address scheme, host and port only."""
    assert place(provider_of(model), api_base, environment) == found


def test_the_teacher_says_its_place(monkeypatch):
    """As its settings and this process's environment have it."""
    for name in variables("openai"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(LiteLLMTeacher(LiteLLMSettings("openai/m")), PlacedTeacher)
    assert LiteLLMTeacher(LiteLLMSettings("openai/m")).place == "openai"
    assert LiteLLMTeacher(LiteLLMSettings("openai/m", "http://127.0.0.1:5/v1")).place == "http://127.0.0.1:5"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:6/v1")
    assert LiteLLMTeacher(LiteLLMSettings("openai/m")).place == "http://127.0.0.1:6"


OF_NO_TEACHER = {"AZURE_AUTHORITY_HOST", "OR_SITE_URL", "VERCEL_SITE_URL", "WATSONX_IAM_URL"}
"""Addresses that litellm reads for something else: a log-in, the name of a site."""


def test_every_variable_by_which_litellm_can_be_sent_elsewhere_is_known():
    """One that a new release brings has to be looked at."""
    litellm = _litellm()
    root = Path(litellm.__file__).parent
    reads = re.compile(
        r'(?:get_secret|get_secret_str|getenv|environ\.get)\(\s*"([A-Z0-9_]+_(?:BASE|URL|ENDPOINT|HOST))"'
    )
    files = [root / "main.py", root / "litellm_core_utils" / "get_llm_provider_logic.py"]
    files += [*(root / "llms").rglob("chat/*.py"), *(root / "llms").glob("*/common_utils.py")]
    found = {name for file in files for name in reads.findall(file.read_text("utf-8"))}
    providers = {*(one.value for one in litellm.LlmProviders), "aleph_alpha", "anyscale"}
    assert len(found) > 50
    assert found - {name for one in providers for name in variables(one)} == OF_NO_TEACHER


@pytest.mark.parametrize("address", ["http://", "https://host:99999/v1", "http://[::1", "?key=sk-secret", ""])
def test_an_address_without_a_host_is_refused_and_not_quoted(address):
    """It may hold a key."""
    with pytest.raises(ConfigError, match="needs a host") as refused:
        origin(address)
    assert "secret" not in str(refused.value)


def test_what_a_third_party_calls_its_place_is_cleaned(monkeypatch):
    """No key in an address, and no secret of the environment in a word."""
    monkeypatch.setenv("SOME_API_KEY", "hush-hush-hush")
    assert cleaned("https://u:p@h.example/v1/hush-hush-hush?key=1") == "https://h.example:443"
    assert cleaned("rack hush-hush-hush") == "rack ***"
    assert cleaned("http://a:1/x or http://b:2/y") == "http://a:1 or http://b:2"


@pytest.mark.parametrize(
    ("found", "plainly"),
    [
        ("openai", "openai"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000 (a server on the machine of the run, not the provider's own)"),
        ("http://[::1]:8000", "http://[::1]:8000 (a server on the machine of the run, not the provider's own)"),
        ("https://gw.example.com:443", "https://gw.example.com:443 (a server that was named by its address)"),
    ],
)
def test_a_server_of_ones_own_is_not_let_pass_for_the_provider(found, plainly):
    """In every place where people read it."""
    assert in_words([found]) == plainly


# --- a run directory --------------------------------------------------------------------------


class Placed(Priced):
    """A teacher that is asked somewhere."""

    def __init__(self, at: str | None) -> None:
        super().__init__()
        if at is not None:
            self.place = at


def go(config: Any, run_dir: Path, teacher: Any, **manner: Any) -> Any:
    """Run the job in some manner."""
    fakes_plugin.HELD["teacher"], fakes_plugin.HELD["student"] = teacher, FakeStudent()
    host = Host(modules=["tests.fakes_plugin"], only=[], strict=True)
    return asyncio.run(run(host, config, run_dir, (), RunMode(**manner)))


def dry(config: Any, run_dir: Path, teacher: Any, moved: bool = False) -> Any:
    """Quote it."""
    fakes_plugin.HELD["teacher"], fakes_plugin.HELD["student"] = teacher, FakeStudent()
    return quote(Host(modules=["tests.fakes_plugin"], only=[], strict=True), config, run_dir, moved)


def meta(run_dir: Path, key: str) -> Any:
    """Return a value that the ledger notes about the whole run."""
    with Ledger.reading(run_dir / "ledger.sqlite") as ledger:
        return ledger.meta(key)


def test_a_teacher_at_another_place_is_refused_with_a_diff_until_it_is_said_that_it_has_moved(tmp_path):
    """By a run and by a dry run; the answers stay, both places are remembered, and nothing is asked for twice."""
    data, run_dir = rows(4), tmp_path / "run"
    config, first = job(tmp_path, data, SELECTIVE), job(tmp_path, data, SELECTIVE, limits={"samples": 2})
    go(first, run_dir, Placed("openai"))
    local = Placed("http://127.0.0.1:8000")
    for attempt in (go, dry):
        with pytest.raises(ConfigError, match=r"place: openai → http://127\.0\.0\.1:8000; if only .* give --moved"):
            attempt(config, run_dir, local)
    assert local.requests == []
    assert meta(run_dir, "places") == ["openai"]

    expected = dry(config, run_dir, local, moved=True).sends.low
    go(config, run_dir, local, moved=True)
    assert len(local.requests) == expected == 4
    assert meta(run_dir, "places") == ["openai", "http://127.0.0.1:8000"]
    manifest = json.loads((run_dir / "manifest.json").read_text("utf-8"))
    assert (manifest["frozen"]["place"], manifest["places"]) == (local.place, ["openai", local.place])

    export_hub(Host(only=[]), run_dir, tmp_path / "hub", "mit")
    card = (tmp_path / "hub" / "README.md").read_text("utf-8")
    plain = card.replace("&#95;", "_")
    assert "| teacher asked at | openai, and http://127.0.0.1:8000 (a server on the machine of the run, not" in plain
    page = write_report(run_dir, None, 24.0).read_text("utf-8")
    assert "a server on the machine of the run" in page


def test_to_read_answers_anew_no_place_is_needed(tmp_path):
    """Nobody is asked, wherever the teacher is by now."""
    config = job(tmp_path, rows(2), SELECTIVE)
    go(config, tmp_path / "run", Placed("openai"))
    go(config, tmp_path / "run", Placed("https://elsewhere.example:443"), ask=False)
    assert meta(tmp_path / "run", "places") == ["openai"]


def test_another_change_is_not_covered_by_the_option(tmp_path):
    """Only the place may change."""
    go(job(tmp_path, rows(2), SELECTIVE), tmp_path / "run", Placed("openai"))
    other = Placed("http://127.0.0.1:1")
    other.identity = "another model"
    with pytest.raises(ConfigError, match="teacher: scripted → another model") as refused:
        go(job(tmp_path, rows(2), SELECTIVE), tmp_path / "run", other, moved=True)
    assert "place:" not in str(refused.value)


def test_a_directory_of_before_goes_on_and_says_what_is_not_known(tmp_path):
    """It gets the fact with the next run; where its first answers came from nobody noted."""
    config, run_dir = job(tmp_path, rows(2), SELECTIVE), tmp_path / "run"
    go(config, run_dir, Placed(None))
    assert "place" not in meta(run_dir, "frozen") and meta(run_dir, "places") is None
    again = Placed("openai")
    go(config, run_dir, again)
    assert again.requests == []
    assert meta(run_dir, "places") == ["a place that was not recorded", "openai"]
    with pytest.raises(ConfigError, match="place: openai →"):
        go(config, run_dir, Placed("groq"))


# --- on the command line ----------------------------------------------------------------------


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """`rt` in an empty directory, with the fakes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    return Cli(monkeypatch, capfd)


def test_a_test_server_is_not_taken_for_the_provider(cli, tmp_path):
    """Under the provider's model name: the run, its status and the refusal of another server say what was asked."""
    one = [{"reflect": "instruction"}]
    with FaultServer(http_answer) as first, FaultServer(http_answer) as second:
        config = http_job(tmp_path, first, rows(2), pipeline=one, student=None, teacher=priced_at(first))
        done = cli("run", config)
        assert done.code == 0
        assert f"(live), asked at {origin(first.url)} (a server on the machine of the run" in done.words
        status = cli("status", "runs/job").words
        assert f"teacher asked at: {origin(first.url)} (a server on the machine of the run" in status

        http_job(tmp_path, second, rows(2), pipeline=one, student=None, teacher=priced_at(second))
        done = cli("run", config)
        assert (done.code, len(second.received)) == (2, 0)
        assert f"place: {origin(first.url)} → {origin(second.url)}" in done.err
        done = cli("run", config, "--moved")
        assert (done.code, len(second.received)) == (0, 0)  # all answers are there


# --- what has no price ------------------------------------------------------------------------


def test_a_price_that_is_not_known_is_nowhere_shown_as_nothing(cli, tmp_path):
    """In the run's own summary, its status and its report; with a price the sum is back."""
    one = [{"reflect": "instruction"}]
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server, rows(2), pipeline=one, student=None, teacher=litellm_at(server))
        done = cli("run", config)
        assert done.code == 0
        assert "unknown cost (no price for this teacher)" in done.words and "$0.0000" not in done.words
        status = cli("status", "runs/job").words
        assert "spent: unknown cost (no price for this teacher)" in status and "$0.0000" not in status
        page = write_report(tmp_path / "runs" / "job", None, 24.0).read_text("utf-8")
        assert "unknown cost (no price for this teacher)" in page and "$0.0000" not in page

        http_job(tmp_path, server, rows(2), pipeline=one, student=None, teacher=priced_at(server))
        assert cli("run", config, "--run-dir", "priced").code == 0
        assert "unknown" not in cli("status", "priced").words


def test_what_costs_nothing_has_a_price(tmp_path):
    """A teacher that is computed here, or read from a file, is free, and a budget of nothing allows it."""

    class Free(ScriptedTeacher):
        def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
            return 0

    free = Free(rewriting)
    go(job(tmp_path, rows(2), [{"reflect": "instruction"}], limits={"budget_usd": 0}), tmp_path / "run", free)
    assert len(free.requests) == 2
    assert meta(tmp_path / "run", "unpriced") is None
