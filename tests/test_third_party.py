"""A stranger's package: installed by pip, found, used by name, and added to a finished run for nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.helpers import CONFIG, PLUGIN, json_lines, rows, rt, the_error, write_json

PACKAGE = Path(__file__).parent / "third_party/rt-demo-plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A directory into which pip has installed the package, from a copy so that no build leaves a trace."""
    source = shutil.copytree(PACKAGE, tmp_path_factory.mktemp("source") / "package")
    target = tmp_path_factory.mktemp("site")
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", "-q", *offline, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return target


@pytest.fixture
def run(site, tmp_path):
    """Calls ``rt`` in a fresh process, with the package or without it."""
    write_json(tmp_path / "data.json", rows(8))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    log = tmp_path / "log"

    def call(*arguments: object, installed: bool = True):
        log.unlink(missing_ok=True)
        path = [site] if installed else []
        return rt("-p", PLUGIN, *arguments, cwd=tmp_path, env={"RT_TEST_LOG": str(log)}, path=path)

    return call


def noted(tmp_path: Path) -> list[str]:
    """Return the actions that the fakes noted in the last process."""
    log = tmp_path / "log"
    return log.read_text().split() if log.exists() else []


def test_the_metric_is_about_ten_lines_and_knows_no_torch():
    """That is what a metric costs its author."""
    code = (PACKAGE / "rt_demo_plugin/metric.py").read_text()
    body = [line for line in code.splitlines() if line.strip() and '"""' not in line]
    assert len(body) <= 10
    assert "torch" not in "".join(path.read_text() for path in PACKAGE.rglob("*.py"))


def test_an_installed_package_is_listed_and_shown(run):
    """With name, package and version; its parts once it is asked for."""
    listed = run("plugins", "list")
    assert "demo rt-demo-plugin 0.4.2" in listed.words
    assert "loss-gap" not in listed.out
    shown = run("plugins", "show", "demo")
    assert "metric loss-gap: L(y) - L(y|x)" in shown.words
    assert "selector middle: neither the best nor the worst" in shown.words
    assert "fraction float 0.5" in shown.words
    assert "demo" not in run("plugins", "list", installed=False).out


def test_its_parts_are_used_by_name_in_a_run(run, tmp_path):
    """Metric and selector together; their values and reasons stand in the side file."""
    pipeline = "pipeline=[{select: {middle: {metric: loss-gap, fraction: 0.25}}}]"
    done = run("run", "rt.yaml", "--set", pipeline)
    assert done.code == 0, done.err
    assert "kept original 2 25.0 %" in done.words
    assert "dropped not selected: loss-gap in the middle … 6 75.0 %" in done.words
    lines = json_lines(tmp_path / "runs/rt/scores.jsonl")
    ranked = sorted(lines, key=lambda line: line["scores"]["original"]["loss-gap"])
    assert {line["id"] for line in lines if line["outcome"] == "original"} == {line["id"] for line in ranked[3:5]}


def test_it_is_scored_by_name(run, tmp_path):
    """As any metric of ours."""
    assert run("score", "data.json", "--student", "fake", "--metric", "loss-gap", "--out", "s.jsonl").code == 0
    for line in json_lines(tmp_path / "s.jsonl"):
        mean = {name: loss["nll"] / loss["tokens"] for name, loss in line["losses"].items()}
        assert line["metrics"] == {"loss-gap": pytest.approx(mean["y"] - mean["y|x"])}


def test_added_to_a_finished_run_in_a_fresh_process_it_costs_nothing(run, tmp_path):
    """Not one forward pass and not one call: its spans are known, and so are the answers."""
    first = run("run", "rt.yaml", installed=False)
    assert first.code == 0, first.err
    assert {"call", "forward"} == set(noted(tmp_path))
    sent = noted(tmp_path).count("call")
    # With the metric alone, after the choices of the first run.
    (tmp_path / "rt.yaml").write_text(f"{CONFIG.split('  - reflect: response')[0]}  - measure: [loss-gap]\n")
    known = run("run", "rt.yaml")
    assert known.code == 0, known.err
    assert noted(tmp_path) == []
    assert f"0 teacher calls sent, {sent // 2} answers from the ledger" in known.words
    assert "; 0 student tokens computed, " in known.words
    lines = json_lines(tmp_path / "runs/rt/scores.jsonl")
    assert all(isinstance(line["scores"][line["kept"]]["loss-gap"], float) for line in lines)
    # And with its selector.
    (tmp_path / "rt.yaml").write_text(f"{CONFIG.split('  - reflect: response')[0]}  - select: {{middle: loss-gap}}\n")
    selected = run("run", "rt.yaml")
    assert noted(tmp_path) == []
    assert "dropped not selected: loss-gap in the middle … 4 50.0 %" in selected.words


def test_without_the_package_its_name_is_unknown(run):
    """And left out by name it is as if it were not there."""
    arguments = ("score", "data.json", "--student", "fake", "--metric", "loss-gap", "--out", "s.jsonl")
    assert the_error(run(*arguments, installed=False)).startswith("unknown metric 'loss-gap'.")
    assert the_error(run("-p", "no:demo", *arguments)).startswith("unknown metric 'loss-gap'.")


def test_the_manifest_names_the_plugins_that_were_used(run, tmp_path):
    """Entry points that were used, and no others, with package, version and target; a module of ``-p`` has none."""
    pipeline = "pipeline=[{select: {middle: {metric: loss-gap, fraction: 0.25}}}]"
    done = run("run", "rt.yaml", "--set", pipeline)
    assert done.code == 0, done.err
    plugins = json.loads((tmp_path / "runs/rt/manifest.json").read_text())["plugins"]
    used = {(one["kind"], one["name"]): (one["plugin"], one["package"], one["version"]) for one in plugins}
    ours = ("builtin", "rt-framework", metadata.version("rt-framework"))
    theirs = ("demo", "rt-demo-plugin", "0.4.2")
    assert used == {
        ("executor", "local"): ours,
        ("format", "json"): ours,
        ("metric", "loss-gap"): theirs,
        ("selector", "middle"): theirs,
        ("stage", "select"): ours,
        ("student", "fake"): (PLUGIN, "", ""),
        ("teacher", "scripted"): (PLUGIN, "", ""),
        ("template", "chat"): ours,
    }
    assert next(one["target"] for one in plugins if one["name"] == "fake") == f"{PLUGIN}:NotedStudent"
