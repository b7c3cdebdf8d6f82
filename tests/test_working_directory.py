"""No file of the working directory runs: not under the name of a package, and not in a process that is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rt_framework.cli import _COMMANDS
from rt_framework.testing.server import FaultServer
from tests import tiny_models as tiny
from tests.helpers import REPO, rows, write_json
from tests.reliability.jobs import litellm_at
from tests.run_helpers import http_answer

INSTALLED = (
    "accelerate attr attrs cattr cattrs click datasets filelock gguf httpx huggingface_hub jinja2 "
    "litellm llguidance numpy openai packaging pluggy pyarrow requests rich safetensors tokenizers "
    "torch tqdm transformers typing_extensions yaml"
)
STANDARD = (
    "asyncio base64 concurrent csv hashlib json logging multiprocessing pathlib pickle queue random selectors "
    "signal socket sqlite3 ssl struct subprocess tempfile threading"
)
ABSENT = (
    "apex av bitsandbytes boto3 conftest dotenv flash_attn google h2 jax kernels numba onnxruntime orjson "
    "peft ray scipy sitecustomize socksio tensorflow torchvision torch_xla usercustomize uvloop vllm wandb "
    "xformers zstandard"
)
"""Names that a package would import if there were one."""

RUNNER = """
import contextlib, json, sys
from rt_framework.cli import main

if __name__ == "__main__":
    for arguments in json.loads(sys.argv.pop()):
        sys.argv = ["rt", *arguments]
        try:
            main()
        except SystemExit as end:
            print("ended", end.code, *arguments, file=sys.stderr)
"""
"""Many commands in one process, which imports what the installed script imports."""

METRIC = """
import beside
from rt_framework import Range, hookimpl

class Gain:
    direction, valid = "higher", Range(above=0)

    def spans(self, pair, frame):
        return {"y": frame.response_alone(pair)}

    def reduce(self, losses):
        return losses["y"].mean

@hookimpl
def rt_register_metrics(register):
    register("gain", "metric:Gain")
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return tiny.save(tmp_path_factory.mktemp("model"), tiny.llama(512), tiny.tokenizer())


@pytest.fixture
def folder(tmp_path):
    """A folder with data and a module of every name that a command may import; each leaves a mark when it runs."""
    (tmp_path / "here").mkdir()
    for name in f"{INSTALLED} {STANDARD} {ABSENT}".split():
        mark = f"open({str(tmp_path / 'marks')!r}, 'a').write('{name} ')\n"
        (tmp_path / "here" / f"{name}.py").write_text(mark)
    write_json(tmp_path / "here/data.json", rows(4))
    return tmp_path / "here"


def marks(folder: Path) -> set[str]:
    """Return the names of the folder's modules that ran, by the marks that they left."""
    path = folder.parent / "marks"
    return set(path.read_text().split()) if path.exists() else set()


def in_one_process(folder: Path, commands: list[list[str]]) -> dict[str, str]:
    """Run ``rt`` with each of these arguments; gives the exit codes by command, and the rest of standard error."""
    runner = folder.parent / "runner/runner.py"
    runner.parent.mkdir(exist_ok=True)
    runner.write_text(RUNNER)
    env = environment(folder) | {"OPENAI_API_KEY": "sk-test"}
    done = subprocess.run(
        [sys.executable, str(runner), json.dumps(commands)], cwd=folder, env=env, capture_output=True, text=True
    )
    ended = [line.removeprefix("ended ") for line in done.stderr.splitlines() if line.startswith("ended ")]
    codes = {" ".join(words): code for code, *words in map(str.split, ended)}
    assert len(codes) == len(commands), done.stderr
    return {**codes, "": done.stderr}


def environment(folder: Path) -> dict[str, str]:
    told = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    cache = str(folder.parent / "cache")
    return told | {"PYTHONPATH": str(REPO), "RT_LOAD_PLUGINS": "", "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": cache}


def test_no_module_of_the_working_directory_runs_by_any_command(folder, model):
    """Every command, with a teacher behind litellm, a student of transformers and processes that are started."""
    stages = [{"reflect": "response"}, {"choose": {"lowest": "r-ifd"}}]
    with FaultServer(http_answer) as server:
        teacher = litellm_at(server)
        job = {
            "data": {"path": "data.json"},
            "teacher": teacher,
            "student": {"hf": {"model": model, "device": "cpu"}},
            "scoring": {"preset": "selective-rt"},
            "pipeline": stages,
        }
        write_json(folder / "job.yaml", job)
        student = ["--student", f"hf:{model}", "--student-device", "cpu"]
        score = ["score", "data.json", *student, "--preset", "selective-rt", "--metric", "ifd"]
        asking = ["--teacher", json.dumps(teacher)]
        commands = [
            ["doctor", "job.yaml", *student],
            ["plugins", "list"],
            ["plugins", "show", "litellm"],
            ["plugins", "check", "ifd"],
            ["plugins", "new", "my-gain"],
            ["init", "data.json", "--prompt", "new", "--out", "new.yaml"],
            ["run", "job.yaml", "--dry-run"],
            ["pilot", "job.yaml", "-n", "2", "--run-dir", "run"],
            ["run", "job.yaml", "--run-dir", "run"],
            ["retry", "job.yaml", "--run-dir", "run", "--kind", "format"],
            ["reparse", "job.yaml", "--run-dir", "run"],
            [*score, "--out", "scores.jsonl", "--executor", "processes:1"],
            ["reflect", "data.json", *asking, "--reflection", "response", "--out", "reflected.parquet"],
            ["answer", "data.json", *student, "--max-tokens", "2", "--out", "answered.json"],
            ["select", "data.json", "--scores", "scores.jsonl", "--by", "top", "--by-metric", "ifd", "--by-count", "2",
             "--out", "selected.csv"],
            ["run", "job.yaml", "--shard", "1/2", "--run-dir", "one"],
            ["run", "job.yaml", "--shard", "2/2", "--run-dir", "two"],
            ["merge", "job.yaml", "merged", "one", "two"],
            ["answers", "run", "--export", "answers.jsonl"],
            ["export", "run", "--out", "exported", "--format", "dataset"],
            ["export", "run", "--out", "hub", "--hub-folder", "--license", "other"],
            ["status", "run"],
            ["report", "run"],
            ["samples", "run"],
            ["explain", "run", "0"],
            ["review", "run"],
            ["salvage", "run", "saved"],
        ]  # fmt: skip
        ended = in_one_process(folder, commands)
    assert marks(folder) == set()
    assert {command: code for command, code in ended.items() if command and code != "0"} == {}, ended[""]
    assert {command[0] for command in commands} == set(_COMMANDS)


@pytest.mark.parametrize("command", [["--help"], ["plugins", "list"], ["-p", "no:x", "plugins", "show", "hf"]])
def test_the_installed_script_imports_nothing_from_there(folder, command):
    script = Path(sys.executable).with_name("rt")
    done = subprocess.run([script, *command], cwd=folder, env=environment(folder), capture_output=True, text=True)
    assert (done.returncode, marks(folder)) == (0, set()), done.stderr


def test_a_module_that_is_named_hides_no_other(folder):
    """``-p metric`` imports metric.py and what it imports; a yaml.py beside it stays what it is, also in processes."""
    for name in ABSENT.split():  # with -p the folder's own modules can be imported, where no other has their name
        (folder / f"{name}.py").unlink()
    (folder / "metric.py").write_text(METRIC)
    (folder / "beside.py").write_text("")
    score = ["-p", "rt_framework.testing.parts", "-p", "metric", "score", "data.json", "--student", "fake"]
    score += ["--preset", "selective-rt", "--metric", "gain", "--out", "a", "--executor", "processes:1"]
    ended = in_one_process(folder, [score, ["-p", "yaml", "plugins", "list"]])
    assert list(ended.values())[:2] == ["0", "2"], ended[""]
    assert "Error: -p yaml: 'yaml' is already the name of another module; rename the file" in ended[""]
    assert marks(folder) == set()
    assert len((folder / "a").read_text().splitlines()) == 4
