"""Refusals that protect the user: no code of strangers runs, no key is kept, and nothing goes where it should not."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import field, frozen
from packaging.requirements import Requirement
from safetensors.torch import load_file

from rt_framework import Span
from rt_framework import text as plain
from rt_framework.builtin import models
from rt_framework.builtin.students.hf import HFStudent
from rt_framework.builtin.students.settings import HFSettings
from rt_framework.builtin.teachers.hf_settings import HFTeacherSettings
from rt_framework.builtin.teachers.litellm import LiteLLMTeacher
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.config.builder import settings
from rt_framework.config.reading import spec_of
from rt_framework.errors import ConfigError, ModelError
from rt_framework.kit.addresses import check_address
from rt_framework.kit.user_files import parse_yaml
from rt_framework.plugin.registry import Entry
from rt_framework.testing.server import FaultServer
from rt_framework.text import without_secrets
from tests import tiny_models as tiny
from tests.helpers import CONFIG, REPO, Cli, rows, the_error, write_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CANARY = "sk-canary0123456789abcdef"


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """The command line, called in a directory with good data and a good config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_json(tmp_path / "data.json", rows(2))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    return Cli(monkeypatch, capfd)


# --- keys come only from the environment ------------------------------------------------------


@frozen
class Loose:
    """Options of a third party's part that take anything."""

    model: str = ""
    key: str = ""
    api_key: str = ""
    options: dict[str, Any] = field(factory=dict)
    several: list[Any] = field(factory=list)


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"api_key": "x"}, "api_key"),
        ({"options": {"API-Key": "x"}}, "options.API-Key"),
        ({"options": {"headers": {"Authorization": "Bearer x"}}}, "options.headers.Authorization"),
        ({"options": {"headers": {"x-api-key": "x"}}}, "options.headers.x-api-key"),
        ({"options": {"deep": [{"er": {"client_secret": "x"}}]}}, "options.deep.0.er.client_secret"),
        ({"options": {"password": "x"}}, "options.password"),
        ({"options": {"hf_token": "x"}}, "options.hf_token"),
        ({"options": {"token": "x"}}, "options.token"),
        ({"several": [{"access_token": "x"}]}, "several.0.access_token"),
        ({"options": {"innocent": CANARY}}, "options.innocent"),
        ({"options": {"headers": {"X-Team-Key": "x"}}}, "options.headers.X-Team-Key"),
        ({"options": {"extra_headers": {"Cookie": "x"}}}, "options.extra_headers.Cookie"),
        (
            {"options": {"default_headers": {"Ocp-Apim-Subscription-Key": "x"}}},
            "options.default_headers.Ocp-Apim-Subscription-Key",
        ),
        (
            {"options": {"extra_body": {"deep": {"aws_secret_access_key": "x"}}}},
            "options.extra_body.deep.aws_secret_access_key",
        ),
        ({"options": {"aws_access_key_id": "x"}}, "options.aws_access_key_id"),
        ({"options": {"where": "https://example.org/v1?key=x"}}, "options.where"),
        ({"options": {"where": "postgresql://me:x@example.org/db"}}, "options.where"),
        ({"several": ["a", f"Bearer {CANARY}"]}, "several.1"),
        (CANARY, ""),
    ],
)
def test_a_key_in_the_options_of_any_plugin_is_refused(options, place):
    """By the option's name at any depth, or by what the value looks like; the value is not shown."""
    entry = Entry("teachers", "theirs", "m:T", "", Loose, "theirs")
    with pytest.raises(ConfigError) as caught:
        settings(entry, options)
    path = f"teacher 'theirs'{place and '.'}{place}"
    assert str(caught.value) == f"{path}: API keys come only from the environment; take it out of the config"


def test_options_that_are_no_keys_are_kept():
    """Tokens of a tokenizer, lengths, models that are called like a key."""
    entry = Entry("teachers", "theirs", "m:T", "", Loose, "theirs")
    plain: dict[str, Any] = {"stop_token": "</s>", "max_tokens": 3, "key_column": "a", "author": "b", "tokens": 1}
    plain |= {"sort_key": "c", "headers": {"X-Title": "a title", "anthropic-version": "2023-06-01"}}
    plain |= {"where": "https://example.org/v1?api-version=2024-10-21&author=a#part", "folder": "abfss://box@account/a"}
    found: Any = settings(entry, {"model": "hf-internal-testing/tiny-random-model", "key": "q", "options": plain})
    assert found.options == plain


@pytest.mark.parametrize(
    "change",
    [
        "teacher={litellm: {model: openai/m, api_key: CANARY}}",
        "teacher={litellm: {model: openai/m, extra: {api_key: CANARY}}}",
        "teacher={litellm: {model: openai/m, extra: {headers: {Authorization: CANARY}}}}",
        "teacher={litellm: {model: openai/m, extra: {extra_headers: {X: CANARY}}}}",
        "teacher={litellm: {model: openai/m, api_base: 'https://me:CANARY@example.org/v1'}}",
        "teacher={litellm: {model: openai/m, api_base: 'https://example.org/v1?key=CANARY'}}",
        "teacher={litellm: {model: openai/m, extra: {extra_headers: {x-api-key: CANARY}}}}",
        "teacher={litellm: {model: openai/m, extra: {default_headers: {api-key: CANARY}}}}",
        "teacher={litellm: {model: openai/m, extra: {extra_body: {a: {authorization: CANARY}}}}}",
        "teacher.litellm.api_key=CANARY",
        "teacher.litellm={api_key: CANARY",
        "teacher={litellm: openai/m, api_key: CANARY}",
        "student={hf: {model: m, token: CANARY}}",
        "pipeline=[{reflect: {instruction: {api_key: CANARY}}}]",
        "api_key=CANARY",
        "limits.api_key=CANARY",
        "data.api_key=CANARY",
    ],
)
def test_a_key_in_a_config_is_refused_and_not_shown(change, cli, tmp_path):
    """Anywhere in it: exit code 2, nothing is asked, and no byte of it is in any file."""
    done = cli("run", "rt.yaml", "--set", change.replace("CANARY", CANARY))
    assert CANARY not in the_error(done)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/v1?key=hunter2hunter2",
        "https://example.org/v1?a=b&api-key=hunter2hunter2",
        "https://example.org/v1?a=b;token=hunter2hunter2",
        "https://example.org/v1?X-Amz-Signature=hunter2hunter2",
        "https://example.org/v1?code=hunter2hunter2",
        "https://example.org/v1#access_token=hunter2hunter2",
        "https://hunter2hunter2@example.org/v1",
        "https://me:hunter2hunter2@example.org/v1",
        "https:/me:hunter2hunter2@example.org/v1",
        "me:hunter2hunter2@example.org/v1",
        "http://example.org/v1?key=hunter2hunter2",
        "https://me:hunter2hunter2@[example.org/v1",
        "https://example.org/sk-hunter2hunter2hunter2hunter2/v1",
    ],
)
def test_a_key_in_an_address_is_refused_and_not_shown(address, monkeypatch):
    """In the config and in the variables that litellm reads: user name, query, fragment, and what looks like one."""
    for use in (
        lambda: check_address(address, "api_base"),
        lambda: LiteLLMSettings("openai/m", address),
    ):
        with pytest.raises(ConfigError, match="keys come only from the environment") as caught:
            use()
        assert "hunter2" not in str(caught.value)
    check_address("https://example.org/v1?api-version=2024-10-21", "api_base")
    with pytest.raises(ConfigError, match="is no address"):
        check_address("https://[example.org", "api_base")


HOLDING = (
    "OPENAI_API_KEY OPENAI_API_KEY_2 WATSONX_APIKEY WATSONX_ZENAPIKEY WATSONX_TOKEN SNOWFLAKE_JWT "
    "GIGACHAT_CREDENTIALS VERTEXAI_CREDENTIALS GOOGLE_APPLICATION_CREDENTIALS AZURE_CREDENTIAL AZURE_AD_TOKEN "
    "AWS_BEARER_TOKEN_BEDROCK AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN CIRCLE_OIDC_TOKEN_V2 "
    "GITHUB_PAT SSH_PASSPHRASE NPM_AUTH MYSQL_PWD PROXY_PASS SIGNING_KEY_PEM OTEL_EXPORTER_OTLP_HEADERS "
    "SENTRY_DSN AZURE_STORAGE_CONNECTION_STRING databricks_api_key ACMEKEY"
)
"""Variables of providers and of others that hold a secret."""


@pytest.mark.parametrize("name", HOLDING.split())
def test_a_variable_that_holds_a_secret_is_known_by_its_name(name, monkeypatch):
    """Also its parts, where it holds headers or a JSON object: a provider repeats the one that it refuses."""
    monkeypatch.setenv(name, "hunter2hunter2")
    assert without_secrets("401: hunter2hunter2!") == "401: ***!"
    monkeypatch.setenv(name, '{"type": "a", "private_key": "q1w2e3r4t5z6u7i8o9"}')
    assert without_secrets("401: q1w2e3r4t5z6u7i8o9, a type") == "401: ***, a type"


@pytest.mark.parametrize("name", ["SSH_KEY_PATH", "API_KEY_FILE", "PWD", "SSH_AUTH_SOCK", "MODEL", "KEYBOARD", "PATH"])
def test_a_variable_that_holds_none_is_left(name, monkeypatch):
    monkeypatch.setenv(name, "an ordinary value")
    assert without_secrets("an ordinary value") == "an ordinary value"


def test_the_password_of_an_address_in_the_environment_is_no_text(monkeypatch):
    """Of a data base, or of a proxy; the rest of the address may be said."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2%2Bhunter2@example.org/db")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:q1w2e3r4t5z6@proxy.example.org:3128")
    told = "postgresql://me:hunter2%2Bhunter2@example.org/db, hunter2+hunter2, q1w2e3r4t5z6 at proxy.example.org"
    assert without_secrets(told) == "postgresql://me:***@example.org/db, ***, *** at proxy.example.org"


def test_every_variable_of_a_provider_that_holds_a_secret_is_masked():
    """By what the litellm that is installed reads for providers: a name with such a word in it, but for the few that
    hold a path, an address, a name or a number.
    """
    found = importlib.util.find_spec("litellm")
    assert found is not None and found.origin is not None
    folder = Path(found.origin).parent / "llms"
    text = "\n".join(path.read_text("utf-8") for path in folder.rglob("*.py"))
    names = set(re.findall(r"""["']([A-Z][A-Z0-9]*_[A-Z0-9_]+)["']""", text))
    secret = {one for one in names if re.search("KEY|TOKEN|SECRET|PASSW|CREDENTIAL|JWT|BEARER", one)}
    reading = re.compile(r"(?:get_secret\w*|getenv|environ(?:\.get)?)\W+([A-Z][A-Z0-9]*_[A-Z0-9_]+)\b")
    read = secret & set(reading.findall(text))
    assert len(read) > 60
    harmless = re.compile("(FILE|DIR|PATH|URL|URI|BASE|ENDPOINT|NAME|ID|MAX_TOKENS|_TTL|_SECONDS)$")
    assert {one for one in read if not re.search(plain._VARIABLE, one) and not harmless.search(one)} == set()


# --- models -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [HFSettings, HFTeacherSettings])
@pytest.mark.parametrize("revision", [None, "main", "v1.0", "abc", COMMIT[:12], f"{COMMIT}0", COMMIT.upper()])
def test_remote_code_needs_a_commit(cls, revision):
    """It is off; code from a repository runs only at a commit: branches and tags can be moved."""
    assert not cls("some/model").trust_remote_code
    with pytest.raises(ConfigError, match="set `revision` to the commit you have read"):
        cls("some/model", revision=revision, trust_remote_code=True)
    assert cls("some/model", revision=COMMIT, trust_remote_code=True).trust_remote_code


def _with_code(folder: Path, where: str) -> str:
    """A model directory whose config names code of its own, or of another repository."""
    tiny.save(folder, tiny.llama(), tiny.tokenizer())
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "strange", "auto_map": {"AutoConfig": f"{where}strange.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "strange.py").write_text("raise SystemExit('the code ran')\n")
    return str(folder)


def test_code_of_a_model_does_not_run_unless_asked_for(tmp_path):
    """One line, and nothing of it runs."""
    student = HFStudent(HFSettings(_with_code(tmp_path, ""), device="cpu"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        student.encode([Span("a", "b")])


def test_code_of_another_repository_is_held_to_the_same_commit(tmp_path, monkeypatch):
    """A config may point elsewhere; what is there today is not run."""
    from transformers.models.auto import configuration_auto

    asked = []

    def load(reference, *_, code_revision=None, **__):
        asked.append((reference, code_revision))
        raise OSError("not here")

    monkeypatch.setattr(configuration_auto, "get_class_from_dynamic_module", load)
    folder = _with_code(tmp_path, "other/repository--")
    student = HFStudent(HFSettings(folder, device="cpu", revision=COMMIT, trust_remote_code=True))
    with pytest.raises(ModelError):
        student.encode([Span("a", "b")])
    assert set(asked) == {("other/repository--strange.Config", COMMIT)}


def test_only_safetensors_are_loaded(tmp_path):
    """Weights in a pickle are refused in one line, and nothing of it runs."""
    folder = tiny.save(tmp_path, tiny.llama(), tiny.tokenizer())
    _only_pickled(tmp_path)
    student = HFStudent(HFSettings(folder))
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        student.score(student.encode([Span("Say:", "yes please")]))
    assert "\n" not in str(caught.value)


def test_only_safetensors_are_loaded_from_the_hub(tmp_path, monkeypatch):
    """A repository with nothing but pickled weights, as the hub's cache holds it."""
    from huggingface_hub import constants

    repository = tmp_path / "models--some--model"
    snapshot = repository / "snapshots" / COMMIT
    tiny.save(snapshot, tiny.llama(), tiny.tokenizer())
    _only_pickled(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    models.hub_commit.cache_clear()
    student = HFStudent(HFSettings("some/model", device="cpu"))
    with pytest.raises(ModelError, match="'some/model' cannot be loaded"):
        student.score(student.encode([Span("Say:", "yes please")]))


def _only_pickled(folder: Path) -> None:
    """Keep the weights as a pickle alone. It is a good one, so that it would be loaded if it were let in."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


UNSAFE = {"pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load", "eval", "exec", "os.system"}
UNSAFE |= {"yaml.unsafe_load", "yaml.full_load"}
PICKLING = {"cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@pytest.mark.parametrize("path", sorted((REPO / "rt_framework").rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_is_unpickled(path):
    """No module reads a pickle: neither by itself nor through torch or numpy; nothing is evaluated as code."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {name.split(".")[0] for name in names} & PICKLING
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            # The processes executor sends its student to the processes that it has started, over their own pipe; a
            # spool reads a file that has no name, so that nobody else can have written to it.
            # The testing kit's fork server runs the kit's own code in the place of `python -c`.
            meant = {"processes": "pickle.loads", "spool": "pickle.loads", "fork_server": "exec"}
            assert called not in UNSAFE - {meant.get(path.stem)}
            assert not {word.arg for word in node.keywords} & {"allow_pickle", "shell"}


# --- YAML -------------------------------------------------------------------------------------

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a: 1, a: 2}", "key 'a' occurs twice"),
        ("{a: {b: 1, b: 2}}", "key 'b' occurs twice"),
        (BOMB, "YAML aliases are not allowed"),
        ("{a: !!python/object/apply:os.system [id]}", "could not determine a constructor"),
        ("{a: !!python/name:os.system }", "could not determine a constructor"),
        ("[" * 100_000, "not usable YAML"),
        ("{a: " * 20_000, "not usable YAML"),
        ("{<<: {a: 1}, a: 2}", "could not determine a constructor"),
    ],
)
def test_yaml_is_safe_and_strict_wherever_it_is_read(text, message):
    """A config, an override, `--by` and `--student`: duplicate keys, aliases, objects and deep nesting are refused."""
    given = text if text.startswith("{") else f"{{a: {text}"
    for read in (lambda: parse_yaml(text, "--by"), lambda: spec_of(given, "--student")):
        with pytest.raises(ConfigError) as caught:
            read()
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "--by")


def test_a_config_has_a_size(cli, tmp_path):
    """A file that is larger than any config is not read."""
    (tmp_path / "rt.yaml").write_text(CONFIG + "#" * 1_000_000)
    assert the_error(cli("run", "rt.yaml")) == "rt.yaml: larger than 1000000 bytes; this is no config"


# --- files ------------------------------------------------------------------------------------


def test_no_text_becomes_the_name_of_a_file(cli, tmp_path):
    """Ids, paths and names in the data: the run writes what it always writes, and nothing beside it."""
    paths = ["../../evil", "/tmp/evil", "..", "a/b", "CON", "kept.json"]
    data = [{"id": one, "name": one, "instruction": one, "input": "", "output": f"{one} {one}"} for one in paths]
    write_json(tmp_path / "data.json", data)
    before = {path.name for path in tmp_path.iterdir()}
    assert cli("run", "rt.yaml").code == 0
    assert {path.name for path in tmp_path.iterdir()} - before == {"runs"}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["rt"]
    written = {path.name for path in (tmp_path / "runs" / "rt").iterdir()}
    assert written >= {"kept.json", "dropped.json", "scores.jsonl", "manifest.json", "ledger.sqlite"}
    assert {name.removesuffix("-wal").removesuffix("-shm") for name in written} - {
        "run.lock",
        ".rt-framework",
    } == written & {
        "kept.json",
        "dropped.json",
        "scores.jsonl",
        "manifest.json",
        "ledger.sqlite",
        "ledger.sqlite-seal",
    }


@pytest.mark.parametrize("name", ["kept.json", "dropped.json", "scores.jsonl", "manifest.json"])
def test_a_link_in_the_place_of_an_output_is_refused(name, cli, tmp_path):
    """The file that the link points to stays as it is."""
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "runs/rt").mkdir(parents=True)
    (tmp_path / "runs/rt" / name).symlink_to(outside)
    assert f"runs/rt/{name}: is a link" in the_error(cli("run", "rt.yaml"))
    assert outside.read_text() == "mine"
    assert [path.name for path in (tmp_path / "runs/rt").iterdir()] == [name]


# --- where requests go ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/v1",
        "HTTP://example.org/v1",
        "http://127.0.0.1.example.org/v1",
        "http://localhost.example.org/v1",
        "http://127.0.0.1@example.org/v1",
        "http://localhost:80@example.org/v1",
        "http://0.0.0.0/v1",
        "http://2130706433/v1",
        "http://[::ffff:8.8.8.8]/v1",
        "http://10.0.0.1/v1",
        "http:example.org",
        "//example.org/v1",
        "example.org/v1",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://me:secret@example.org/v1",
        "",
    ],
)
def test_an_address_that_is_neither_https_nor_this_machine_is_refused(address):
    """However it is dressed up; a password in it is not shown."""
    with pytest.raises(ConfigError) as caught:
        check_address(address, "api_base")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["_API_BASE", "_BASE_URL"])
@pytest.mark.parametrize(
    ("model", "provider"), [("openai/m", "OPENAI"), ("m", "OPENAI"), ("hosted_vllm/m", "HOSTED_VLLM")]
)
def test_an_address_from_the_environment_follows_the_same_rule(model, provider, suffix, monkeypatch):
    """Litellm takes it from there as well."""
    monkeypatch.setenv(provider + suffix, "http://example.org/v1")
    with pytest.raises(ConfigError, match=provider + suffix):
        LiteLLMTeacher(LiteLLMSettings(model))


def test_the_server_of_the_tests_is_on_this_machine():
    """And on no other address of it."""
    with FaultServer(lambda body: "hello") as server:
        assert server.url.startswith("http://127.0.0.1:")


# --- litellm ----------------------------------------------------------------------------------


def test_compromised_releases_of_litellm_cannot_be_installed():
    """By the range of the package, and by what is pinned for its tests."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    (needed,) = [Requirement(one) for one in project["dependencies"] if Requirement(one).name == "litellm"]
    for version in ("1.82.7", "1.82.8", "1.107.0"):
        assert version not in needed.specifier
        assert f"litellm=={version}\n" not in (REPO / "constraints.txt").read_text() + "\n"


LITELLM = """
import json, os
from rt_framework.builtin.teachers.litellm import _litellm
litellm = _litellm()
kinds = ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback")
kinds += tuple("_async_" + kind for kind in kinds[1:4])
print(json.dumps({
    "callbacks": [one for kind in kinds for one in getattr(litellm, kind, [])],
    "cache": litellm.cache is not None,
    "telemetry": litellm.telemetry,
    "retries": litellm.num_retries,
    "env": os.environ.get("RT_CANARY"),
    "map": os.environ["LITELLM_LOCAL_MODEL_COST_MAP"],
    "loaded": sorted({"diskcache", "langfuse"} & set(__import__("sys").modules)),
}))
"""


def test_litellm_calls_nobody_back_and_keeps_nothing(tmp_path):
    """Callbacks, caches and telemetry are off, `.env` is not read, prices come from the package."""
    (tmp_path / ".env").write_text("RT_CANARY=1\n")
    env = os.environ | {"PYTHONPATH": str(REPO), "LITELLM_MODE": "DEV"}
    command = [sys.executable, "-c", LITELLM]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "callbacks": [],
        "cache": False,
        "telemetry": False,
        "retries": None,
        "env": None,
        "map": "True",
        "loaded": [],
    }
