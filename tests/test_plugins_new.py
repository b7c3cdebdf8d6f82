"""``rt plugins new``: what it writes is complete, loads, and passes its own tests at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from rt_framework.hookspecs import API
from rt_framework.jobs.scaffold import KINDS
from tests.helpers import PLUGIN, REPO, Cli, install, json_lines, rows, rt, the_error, write_json


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """A folder with one package of each kind."""
    folder = tmp_path_factory.mktemp("packages")
    for kind in KINDS:
        done = rt("plugins", "new", f"rt-my-{kind}", "--kind", kind, cwd=folder)
        assert done.code == 0, done
    return folder


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command in a package, with this checkout's rt_framework."""
    told = {**os.environ, "PYTHONPATH": str(REPO), "RT_LOAD_PLUGINS": ""}
    return subprocess.run(list(map(str, command)), cwd=cwd, env=told, capture_output=True, text=True, timeout=120)


def test_the_tests_of_a_package_pass(packages):
    """In its own folder, by its own settings."""
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=packages / "rt-my-stage")
    assert done.returncode == 0, done.stdout


def test_all_tests_of_all_kinds_pass(packages):
    """Each package's own, its contract among them. In one process: to start pytest takes longer than most of them."""
    folders = [packages / f"rt-my-{kind}" for kind in KINDS]
    options = (
        "-v",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "-o",
        f"pythonpath={' '.join(map(str, folders))}",
    )
    done = run(sys.executable, "-m", "pytest", *options, *folders, cwd=packages)
    assert done.returncode == 0, done.stdout
    assert [kind for kind in KINDS if f"test_rt_my_{kind}.py::" not in done.stdout] == []


def test_the_contract_holds_without_pytest_too(packages, monkeypatch, capfd):
    """By the commands that each README names, with no option given."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    for kind in KINDS:
        file = packages / f"rt-my-{kind}" / f"rt_my_{kind}.py"
        cli = Cli(monkeypatch, capfd)
        assert f"{kind} my-{kind}: " in cli("-p", file, "plugins", "show", f"my-{kind}", plugin=False).out
        done = cli("-p", file, "plugins", "check", f"my-{kind}", plugin=False)
        assert done.out.endswith("0 checks failed, 0 of 1 parts were not checked\n"), done
        assert done.code == 0


def test_the_code_is_clean(packages):
    """By the usual rules of ruff."""
    rules = ("--isolated", "--select", "E,F,I,UP,B,D1", "--ignore", "D107", "--line-length", 120)
    for kind in KINDS:
        done = run(sys.executable, "-m", "ruff", "check", *rules, ".", cwd=packages / f"rt-my-{kind}")
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_a_complete_package(packages, kind):
    """With metadata, module, test, README, CI and what git leaves out."""
    folder = packages / f"rt-my-{kind}"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "cache" not in str(path)}
    module = f"rt_my_{kind}"
    workflow = ".github/workflows/test.yml"
    assert found == {"pyproject.toml", "README.md", ".gitignore", workflow, f"{module}.py", f"tests/test_{module}.py"}
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["rt_framework"] == {f"my-{kind}": module}
    assert f"RT_PLUGIN_API = {API}" in (folder / f"{module}.py").read_text()
    assert "${{ matrix.python }}" in (folder / workflow).read_text()


def test_installed_it_is_used_by_name(packages, tmp_path):
    """By pip, then listed, and its metric scores data."""
    site = tmp_path / "site"
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    done = run(
        sys.executable, "-m", "pip", "install", "-q", *offline, "--target", site, ".", cwd=packages / "rt-my-metric"
    )
    assert done.returncode == 0, done.stderr
    write_json(tmp_path / "data.json", rows(3))
    listed = rt("plugins", "list", cwd=tmp_path, path=[site])
    assert "my-metric rt-my-metric 0.1.0" in listed.words
    arguments = ("score", "data.json", "--student", "fake", "--metric", "my-metric", "--out", "s.jsonl")
    done = rt("-p", PLUGIN, *arguments, cwd=tmp_path, path=[site])
    assert done.code == 0, done
    assert all(line["metrics"]["my-metric"] is not None for line in json_lines(tmp_path / "s.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["taken"], "taken: exists already; choose another name, or remove it"),
        (["My Metric"], "'My Metric' cannot be the name of a package: use small letters, digits and single hyphens"),
        (["../up"], "'../up' cannot be the name of a package"),
        (["class"], "'class' cannot be the name of a package"),
        (["json"], "'json' is the name of an installed module already; choose another name"),
        (["rt-framework"], "'rt_framework' is the name of an installed module already"),
        (["rt-ifd"], "'ifd' is the name of a plugin or of a metric already; choose another name"),
        (["builtin", "--kind", "stage"], "'builtin' is the name of a plugin or of a stage already"),
        (["rt-there"], "'there' is the name of a plugin or of a metric already"),
        (["x", "--kind", "judge"], "Invalid value for '--kind': 'judge' is not one of 'metric', "),
    ],
)
def test_what_cannot_be_written(tmp_path, monkeypatch, capfd, arguments, message):
    """One line, and nothing is written."""
    install(tmp_path / "site", "rt-there", {}, {"there": "no_such_module_of_there"})
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delenv("RT_LOAD_PLUGINS", raising=False)
    (tmp_path / "here/taken").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert the_error(Cli(monkeypatch, capfd)("plugins", "new", *arguments, plugin=False)).startswith(message)
    assert [path.name for path in Path().iterdir()] == ["taken"]


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, capfd):
    """One line, and the exit code of a disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    done = Cli(monkeypatch, capfd)("plugins", "new", "rt-full", plugin=False)
    assert the_error(done, 5) == "rt-full: cannot be written: No space left on device"
