"""The gallery of the docs: every config runs, asks what its dry run said, and the page shows that dry run."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve

from rt_framework import open_run
from rt_framework.plugin import Host
from rt_framework.testing import FakeStudent, LossServer, rewriting
from rt_framework.testing.project import Cli
from tests import fakes_plugin
from tests.helpers import REPO
from tests.run_helpers import Priced, write_json

GALLERY = REPO / "docs" / "gallery"
PAGE = REPO / "docs" / "gallery.md"
CONFIGS = sorted(path.stem for path in GALLERY.glob("*.yaml"))
COMMANDS = {
    told[2]: shlex.split(told[1])
    for told in re.finditer(r"^\$ rt (.*run (\S+)\.yaml) --dry-run$", PAGE.read_text("utf-8"), re.MULTILINE)
}
"""The command of each config on the page, without ``rt`` and ``--dry-run``."""

Rt = Callable[[list[str]], str]


def _module(path: Path) -> Any:
    spec: Any = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


dry_runs = _module(REPO / "docs" / "dry_runs.py")


def _dry_run(name: str) -> str:
    """The dry run that the page shows for a config."""
    (shown,) = re.findall(rf"run {name}\.yaml --dry-run\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return shown


@pytest.fixture(autouse=True)
def core_alone() -> None:
    """The page shows a command of a package that ``make install`` brings, so it is not hidden here."""


@pytest.fixture
def rt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Rt:
    """Calls ``rt`` in a copy of the gallery, without a key and without the hub, and returns what it prints."""
    for folder in ("gallery", "examples"):
        shutil.copytree(REPO / "docs" / folder, tmp_path / folder, ignore=shutil.ignore_patterns("runs"))
    monkeypatch.chdir(tmp_path / "gallery")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    for folder in dry_runs.PLUGINS.values():
        monkeypatch.syspath_prepend(str(folder))
    cli = Cli(monkeypatch, capfd)

    def call(words: list[str]) -> str:
        done = cli(*dry_runs.with_plugins(words))
        assert done.code == 0, done
        return done.out

    return call


def test_the_page_shows_each_config_and_its_dry_run(rt: Rt) -> None:
    """Every file of the gallery, with what the command prints today; ``python docs/dry_runs.py`` renews the page."""
    text = PAGE.read_text("utf-8")
    assert sorted(COMMANDS) == CONFIGS
    assert [name for name in CONFIGS if f'```yaml title="docs/gallery/{name}.yaml"' not in text] == []
    assert dry_runs.renewed(text, rt) == text


def test_the_price_in_the_overview_is_that_of_the_gallery() -> None:
    """The page of five minutes gives the cost of the selective config."""
    ((low, high),) = re.findall(r"^ cost +(\S+) +(\S+)", _dry_run("selective"), re.MULTILINE)
    assert f"between {low} and {high}" in " ".join((REPO / "docs/five-minutes.md").read_text("utf-8").split())


# --- the configs run --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[LossServer]:
    """A server that gives losses as vLLM does."""
    with LossServer() as server:
        yield server


def _settings(name: str, server: LossServer) -> Iterator[str]:
    """The parts of a config that a test replaces: teachers, local students, and the address of the served one."""
    config = yaml.safe_load((GALLERY / f"{name}.yaml").read_text("utf-8"))
    if "teacher" in config:
        yield "teacher=held:teacher"
    for key in config.get("teachers", {}):
        yield f"teachers.{key}=held:{key}"
    if "vllm" in config.get("student", {}):
        tokenizer = _module(REPO / "plugins/rt-vllm/tests/vllm_parts.py").tokenizer_folder()
        yield "student=" + json.dumps({"vllm": {"url": server.url, "tokenizer": tokenizer, "dtype": "float32"}})
    elif "student" in config:
        yield "student=held:student"


def _teacher(name: str) -> Priced:
    """A teacher with a price, whose answers differ from those of others and from draw to draw."""
    teacher = Priced(
        lambda request: rewriting(evolve(request, reflection=f"{request.reflection} {name} {request.draw}"))
    )
    teacher.identity = name
    return teacher


VERSIONS = {
    "reflection": {"instruction.response"},
    "selective": {"original", "instruction", "response", "instruction.response"},
    "best-of-n": {"original", "best.1", "best.2", "best.3", "best.4"},
    "two-teachers": {"original", "strong", "cheap"},
    "chat": {"original", "response"},
    "own-prompt": {"original", "prompt"},
    "served": {"original", "response"},
    "proof": {"original", "response"},
}
"""The versions that the samples of a run end with; where a config is not named, the originals."""
SELECTED = {"cherry": 0.05, "superfiltering": 0.05, "own-metric": 0.5, "proof": 0.25}
"""The share of the samples with a valid score that a config keeps."""


def _run(name: str, rt: Rt, server: LossServer) -> int:
    """Run a config with fakes, and return the number of questions that its teachers got."""
    teachers = {key: _teacher(key) for key in ("teacher", "strong", "cheap")}
    fakes_plugin.HELD.update(teachers, student=FakeStudent())
    settings = [word for one in _settings(name, server) for word in ("--set", one)]
    rt(["-p", "tests.fakes_plugin", *COMMANDS[name], *settings])
    return sum(len(teacher.requests) for teacher in teachers.values())


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_runs(name: str, rt: Rt, server: LossServer) -> None:
    """With fakes; the teachers get as many questions as the dry run on the page says."""
    asked = _run(name, rt, server)
    with open_run(Path("runs") / name, Host(modules=["tests.fakes_plugin", "rt_vllm"], only=[])) as run:
        rows = list(run.rows())
    kept = [row for row in rows if row["outcome"] != "dropped"]
    assert {row["outcome"] for row in rows} <= {"rewritten", "original", "dropped"}
    assert {row["version"] for row in rows} == VERSIONS.get(name, {"original"})
    if name in SELECTED:
        ranked = {int(of) for row in rows for of in re.findall(r"rank \d+ of (\d+)", row["reason"] or "")}
        assert [math.ceil(SELECTED[name] * of) for of in ranked] == [len(kept)]
    assert [str(asked)] == re.findall(r"^ to send +(\d+)", _dry_run(name), re.MULTILINE)
    assert (server.asked > 0) or name != "served"


def test_the_run_to_prove_has_every_control(rt: Rt, server: LossServer, tmp_path: Path) -> None:
    """The command of the page, with a small model in place of the student: it has all of the default arms."""
    _run("proof", rt, server)
    parts = _module(REPO / "plugins/rt-prove/tests/prove_parts.py")
    for name in ("plain", "strong"):
        write_json(Path(f"{name}.json"), parts.held_out())
    (command,) = re.findall(r"^rt (prove .*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    model = parts.save_model(tmp_path / "model")
    shown = rt(["-p", "tests.fakes_plugin", *shlex.split(command.replace("Qwen/Qwen2.5-1.5B", model))])
    arms = ["kept", "all-rewrites", "random-version", "original", "random", "length-matched"]
    assert re.findall(r"^ ([a-z-]+) +\d+ +\d+ +\d+", shown, re.MULTILINE) == arms, shown
