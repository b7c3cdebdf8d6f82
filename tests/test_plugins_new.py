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

PLUGIN_KINDS = tuple(kind for kind in KINDS if kind != "command")


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """A folder with one package of each kind, one of all kinds, and one of two commands."""
    folder = tmp_path_factory.mktemp("packages")
    for kind in KINDS:
        done = rt("plugins", "new", f"rt-my-{kind}", "--kind", kind, cwd=folder)
        assert done.code == 0, done
    several = [word for kind in KINDS for word in ("--kind", f"{kind}:own-{kind}")]
    done = rt("plugins", "new", "rt-all", *several, "--kind", "metric:second", cwd=folder)
    assert done.code == 0, done
    done = rt("plugins", "new", "rt-told", "--kind", "command:tell", "--kind", "command:show-all", cwd=folder)
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
    folders = [*(packages / f"rt-my-{kind}" for kind in KINDS), packages / "rt-all", packages / "rt-told"]
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
    tested = [f"test_{name}_{kind}.py::" for kind in KINDS for name in ("rt_my", "own")]
    tested += ["test_second.py::TestSecond::", "test_tell.py::", "test_show_all.py::"]
    assert [name for name in tested if name not in done.stdout] == []


def test_the_contract_holds_without_pytest_too(packages, monkeypatch, capfd):
    """By the commands that each README names, with no option given."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    for kind in PLUGIN_KINDS:
        file = packages / f"rt-my-{kind}" / f"rt_my_{kind}.py"
        cli = Cli(monkeypatch, capfd)
        assert f"{kind} my-{kind}: " in cli("-p", file, "plugins", "show", f"my-{kind}", plugin=False).out
        done = cli("-p", file, "plugins", "check", f"my-{kind}", plugin=False)
        assert done.out.endswith("0 checks failed, 0 of 1 parts were not checked\n"), done
        assert done.code == 0


def test_the_code_is_clean(packages):
    """By the usual rules of ruff, and as ruff lays it out."""
    rules = ("--isolated", "--select", "E,F,I,UP,B,D1", "--ignore", "D107", "--line-length", 120)
    for folder in packages.iterdir():
        done = run(sys.executable, "-m", "ruff", "check", *rules, ".", cwd=folder)
        assert done.returncode == 0, done.stdout
        done = run(
            sys.executable, "-m", "ruff", "format", "--check", "--isolated", "--line-length", 120, ".", cwd=folder
        )
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
    is_command = kind == "command"
    group, target = ("rt_framework.commands", f"{module}:command") if is_command else ("rt_framework", module)
    assert project["entry-points"] == {group: {f"my-{kind}": target}}
    assert (f"RT_PLUGIN_API = {API}" in (folder / f"{module}.py").read_text()) != is_command
    assert "${{ matrix.python }}" in (folder / workflow).read_text()


def test_a_package_of_several_kinds_is_complete(packages):
    """One plugin with all parts, a module and a test for each, and its commands beside it."""
    folder = packages / "rt-all"
    names = [*(f"own_{kind}" for kind in KINDS), "second"]
    code = {str(path.relative_to(folder)) for path in folder.rglob("*.py")}
    assert code == {"rt_all/__init__.py", *(f"rt_all/{n}.py" for n in names), *(f"tests/test_{n}.py" for n in names)}
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    commands = {"own-command": "rt_all.own_command:command"}
    assert project["entry-points"] == {"rt_framework": {"all": "rt_all"}, "rt_framework.commands": commands}
    hooks = (folder / "rt_all/__init__.py").read_text()
    assert hooks.count("@hookimpl") == len(PLUGIN_KINDS) and hooks.count("RT_PLUGIN_API") == 1
    assert [name for name in names if "RT_PLUGIN_API" in (folder / f"rt_all/{name}.py").read_text()] == []
    assert all(f"the {kind} 'own-{kind}'" in (folder / "README.md").read_text() for kind in KINDS)


def test_a_package_of_commands_alone_is_no_plugin(packages):
    """It has no hooks, and no entry point of a plugin."""
    project = tomllib.loads((packages / "rt-told/pyproject.toml").read_text())["project"]
    commands = {"tell": "rt_told.tell:command", "show-all": "rt_told.show_all:command"}
    assert project["entry-points"] == {"rt_framework.commands": commands}
    assert "hookimpl" not in (packages / "rt-told/rt_told/__init__.py").read_text()


def test_several_kinds_are_used_without_installing(packages, monkeypatch, capfd):
    """From the package's folder, as its README says; every part keeps its contract."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.chdir(packages / "rt-all")
    cli = Cli(monkeypatch, capfd)
    assert "metric own-metric: " in cli("-p", "rt_all", "plugins", "show", "own-metric", plugin=False).out
    done = cli("-p", "rt_all", "plugins", "check", "rt_all", plugin=False)
    assert (done.code, done.out.splitlines()[-1]) == (0, "0 checks failed, 0 of 11 parts were not checked")


def test_installed_it_is_used_by_name(packages, tmp_path):
    """By pip, then listed; its metric scores data, and its command runs."""
    site = tmp_path / "site"
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    folders = [packages / "rt-my-metric", packages / "rt-all"]
    done = run(sys.executable, "-m", "pip", "install", "-q", *offline, "--target", site, *folders, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    write_json(tmp_path / "data.json", rows(3))
    listed = rt("plugins", "list", cwd=tmp_path, path=[site])
    assert "my-metric rt-my-metric 0.1.0" in listed.words
    assert "own-command rt-all 0.1.0" in listed.words
    done = rt("own-command", "data.json", "-n", "2", cwd=tmp_path, path=[site])
    assert (done.code, done.out.count("characters")) == (0, 2), done
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
        (["rt-ifd"], "'ifd' is the name of a metric already; choose another name"),
        (["builtin", "--kind", "stage"], "'builtin' is the name of a plugin already"),
        (["rt-there"], "'there' is the name of a plugin already"),
        (["rt-run", "--kind", "command"], "'run' is the name of a command already; choose another name"),
        (["rt-x", "--kind", "metric:loss"], "'loss' is the name of a metric already; choose another name"),
        (["rt-x", "--kind", "metric:My"], "'My' cannot be the name of a metric: use small letters, digits and single"),
        (
            ["rt-x", "--kind", "metric", "--kind", "stage"],
            "two parts would be called 'x'; name each, as in --kind metric:",
        ),
        (["rt-x", "--kind", "judge:y"], "Invalid value for '--kind': 'judge' is not one of 'metric', "),
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
