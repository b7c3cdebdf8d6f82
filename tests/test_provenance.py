"""The manifest says with which code and settings a run was made, and readers take older manifests too."""

import html
import json
import subprocess
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import pytest

from rt_framework.config import Builder
from rt_framework.kit.parts import Spec
from rt_framework.plugin import Host
from rt_framework.rundir import origins_in_words, plain_config
from rt_framework.rundir.provenance import own_checkout, parts_used
from tests.helpers import CONFIG, REPO, Cli, install, rows, write_json

METRIC = """
import os
from attrs import field, frozen
from rt_framework import hookimpl, Range

@frozen
class Settings:
    weight: float = 1.0
    api_key: str = field(factory=lambda: os.environ.get("ODD_SERVICE", "none"))
    address: str = field(factory=lambda: "https://me:pass@" + "host/path")
    note: str = field(factory=lambda: "with " + os.environ.get("ODD_TOKEN", "nothing"))

class Metric:
    direction, valid = "higher", Range()
    def __init__(self, settings): pass
    def spans(self, pair, frame): return {}
    def reduce(self, losses): return 0.0

@hookimpl
def rt_register_metrics(register):
    register("odd", "THIS:Metric", settings=Settings)
"""


def git(folder: Path, *arguments: str) -> str:
    """Run a git command in a folder and return its output."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch, request):
    """A repository with one commit, which holds a plugin's module of a name that no other test has."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    module = "odd_" + sha256(request.node.name.encode()).hexdigest()[:8]
    (folder / f"{module}.py").write_text(METRIC.replace("THIS", module))
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    monkeypatch.setenv("RT_LOAD_PLUGINS", "odd")
    monkeypatch.chdir(tmp_path)
    return folder / f"{module}.py"


def used(host: Host, *options: object) -> list[dict]:
    """The records of metric ``odd``, built with each of the options."""
    for given in options or (None,):
        Builder(host)("metrics", "odd", given)
    return parts_used(host, plain_config)


def package(site: Path, module: str, direct_url: dict | None = None) -> Host:
    """A host that finds the module as the plugin of a package, with what pip noted of where the package is from."""
    install(site, "rt-odd", {}, {"odd": module}, version="2.1")
    if direct_url is not None:
        (site / "rt_odd-2.1.dist-info" / "direct_url.json").write_text(json.dumps(direct_url))
    return Host()


# --- which code -------------------------------------------------------------------------------


@pytest.mark.parametrize("dirty", [False, True])
def test_an_editable_package_is_named_with_its_commit(checkout, tmp_path, monkeypatch, dirty):
    """And with whether somebody has changed a file since; a file that git does not know is no change."""
    (checkout.parent / "notes.txt").write_text("not tracked")
    if dirty:
        checkout.write_text(checkout.read_text() + "# changed\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.syspath_prepend(checkout.parent)
    # As if the command were called by a git hook of another repository.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    url = {"url": checkout.parent.as_uri(), "dir_info": {"editable": True}}
    (part,) = used(package(tmp_path / "site", checkout.stem, url))
    monkeypatch.delenv("GIT_DIR")
    assert (part["kind"], part["name"], part["plugin"]) == ("metric", "odd", "odd")
    assert (part["package"], part["version"], part["target"]) == ("rt-odd", "2.1", f"{checkout.stem}:Metric")
    assert (part["commit"], part["dirty"]) == (git(checkout.parent, "rev-parse", "HEAD"), dirty)
    assert part["sha256"] is None


def test_code_and_commit_are_those_of_the_first_use(checkout, tmp_path, monkeypatch):
    """A commit while the run is under way does not become the run's."""
    monkeypatch.syspath_prepend(checkout.parent)
    host, before = Host(modules=[checkout.stem]), git(checkout.parent, "rev-parse", "HEAD")
    text = checkout.read_bytes()
    used(host)
    checkout.write_text("# another one\n")
    git(checkout.parent, "commit", "-qam", "second")
    (part,) = used(host)
    assert (part["commit"], part["dirty"], part["sha256"]) == (before, False, sha256(text).hexdigest())


@pytest.mark.parametrize(
    ("url", "commit"),
    [
        ({"url": "https://example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "ab" * 20}}, "ab" * 20),
        ({"url": "file:///somewhere", "dir_info": {}}, None),
        (["junk"], None),
        (None, None),
    ],
)
def test_an_installed_copy_has_the_commit_that_pip_noted(checkout, tmp_path, monkeypatch, url, commit):
    """Not that of a checkout whose virtual environment it is installed in."""
    site = checkout.parent / "venv" / "site-packages"
    site.mkdir(parents=True)
    (site / checkout.name).write_bytes(checkout.read_bytes())
    git(checkout.parent, "add", "-f", ".")
    git(checkout.parent, "commit", "-qm", "even if somebody committed it")
    monkeypatch.syspath_prepend(site)
    (part,) = used(package(site, checkout.stem, url))
    assert (part["package"], part["commit"], part["dirty"], part["sha256"]) == ("rt-odd", commit, None, None)


def test_a_file_is_named_with_its_hash(checkout, tmp_path, monkeypatch):
    """In a repository that does not track it, outside of one, or without git; the commit would not hold it."""
    monkeypatch.syspath_prepend(checkout.parent)
    git(checkout.parent, "rm", "-q", "--cached", checkout.name)
    git(checkout.parent, "commit", "-qm", "left out", "--allow-empty")
    (part,) = used(Host(modules=[checkout.stem]))
    assert (part["package"], part["version"], part["commit"], part["dirty"]) == ("", "", None, None)
    assert part["sha256"] == sha256(checkout.read_bytes()).hexdigest()


def test_without_git_there_is_no_commit_and_no_error(checkout, monkeypatch):
    """The hash stays."""
    monkeypatch.syspath_prepend(checkout.parent)
    monkeypatch.setenv("PATH", "")
    (part,) = used(Host(modules=[checkout.stem]))
    assert (part["commit"], part["dirty"]) == (None, None)
    assert part["sha256"]


def test_built_in_parts_are_of_this_package():
    """With the commit of the checkout that these tests run from, if it is one."""
    host = Host(only=())
    Builder(host)("templates", "chat")
    (part,) = parts_used(host, plain_config)
    assert (part["plugin"], part["package"]) == ("builtin", "rt-framework")
    assert part["version"] == metadata.version("rt-framework")
    assert part["settings"] == {}
    if (REPO / ".git").exists():
        assert part["commit"] == own_checkout()["commit"] == git(REPO, "rev-parse", "HEAD")


# --- which settings ---------------------------------------------------------------------------


def test_a_part_is_named_once_for_each_of_its_settings(checkout, monkeypatch):
    """With defaults filled in, as plain values."""
    monkeypatch.syspath_prepend(checkout.parent)
    parts = used(Host(modules=[checkout.stem]), {"weight": 2}, None, {"weight": 2})
    assert sorted(part["settings"]["weight"] for part in parts) == [1.0, 2.0]
    assert json.loads(json.dumps(parts)) == parts


def test_settings_that_hold_settings_and_parts_are_plain():
    """Of a built-in stage: a selector with its options."""
    host = Host(only=())
    Builder(host).spec("stages", Spec("select", {"top": {"metric": "ifd", "fraction": 0.5}}))
    parts = {part["kind"]: part["settings"] for part in parts_used(host, plain_config)}
    assert parts["stage"]["selector"] == {"top": {"metric": "ifd", "fraction": 0.5}}
    assert parts["selector"] == {"metric": "ifd", "fraction": 0.5, "count": None, "of": "valid", "order": "higher"}


def test_no_secret_is_in_the_settings(checkout, monkeypatch):
    """A settings class may read one from the environment, which no config shows."""
    monkeypatch.syspath_prepend(checkout.parent)
    monkeypatch.setenv("ODD_SERVICE", "a secret by the name of its option")
    monkeypatch.setenv("ODD_TOKEN", "a-secret-by-its-variable")
    (part,) = used(Host(modules=[checkout.stem]))
    settings = part["settings"]
    assert settings == {"weight": 1.0, "api_key": "***", "address": "***", "note": "with ***"}


# --- readers ----------------------------------------------------------------------------------


def test_report_and_card_name_the_plugins(checkout, tmp_path, monkeypatch, capfd):
    """A plugin of one file, by its commit and its hash."""
    write_json(tmp_path / "data.json", rows(2))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    rt = Cli(monkeypatch, capfd)
    pipeline = "pipeline=[{select: {top: {metric: odd, fraction: 0.5}}}]"
    done = rt("-p", str(checkout), "run", "rt.yaml", "--run-dir", "run", "--set", pipeline)
    assert done.code == 0, done
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["checkout"] == own_checkout()
    commit = git(checkout.parent, "rev-parse", "HEAD")
    hashed = sha256(checkout.read_bytes()).hexdigest()
    words = f"{checkout.stem} (commit {commit[:12]}, SHA-256 {hashed[:12]})"
    assert words in origins_in_words(manifest)
    assert rt("-p", str(checkout), "report", "run").code == 0
    assert words in (tmp_path / "run" / "report.html").read_text("utf-8")
    arguments = ("--hub-folder", "--license", "mit", "--out", "hub")
    done = rt("-p", str(checkout), "export", "run", *arguments)
    assert done.code == 0, done
    assert words in html.unescape((tmp_path / "hub" / "README.md").read_text("utf-8"))
    # As a release wrote it that knew only names and versions, or nothing of plugins.
    for part in manifest["plugins"]:
        for key in ("settings", "commit", "dirty", "sha256"):
            del part[key]
    del manifest["checkout"]
    for older in (manifest, {key: value for key, value in manifest.items() if key != "plugins"}):
        (tmp_path / "run" / "manifest.json").write_text(json.dumps(older))
        assert rt("-p", str(checkout), "report", "run", "--overwrite").code == 0
        assert rt("-p", str(checkout), "export", "run", *arguments, "--overwrite").code == 0
    assert origins_in_words(manifest) == f"{checkout.stem}; tests.helpers"
    assert origins_in_words({}) == ""
