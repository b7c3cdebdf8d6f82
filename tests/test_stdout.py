"""Standard output is what the command says: a plugin that prints, at whatever moment, is heard on standard error."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from rt_framework.kit.stdout import others_to_stderr, own
from tests.helpers import REPO, Cli, install, rows, rt, write_json

NOISY = """
import ctypes, os, subprocess, sys
from rt_framework import Range, hookimpl

def shout(where):
    print(f"noise {where} print")
    sys.__stdout__.write(f"noise {where} original\\n")
    os.write(1, f"noise {where} descriptor\\n".encode())
    subprocess.run([sys.executable, "-c", f"print('noise {where} process')"])
    ctypes.CDLL(None).printf(f"noise {where} C\\n".encode())

shout("import")

class Noisy:
    direction, valid = "higher", Range(above=0)

    def __init__(self):
        shout("made")

    def spans(self, pair, frame):
        return {"y": frame.response_alone(pair)}

    def reduce(self, losses):
        print("noise reduce print")
        return losses["y"].mean

@hookimpl
def rt_register_metrics(register):
    print("noise register print")
    register("noisy", "noisy:Noisy")
"""
PRINTING = NOISY.replace("\nshout(", "\nprint('noise',").replace("    shout(", "    print('noise',")
HEARD = {
    f"{where} {how}" for where in ("import", "made") for how in ("print", "original", "descriptor", "process", "C")
}
HEARD |= {"register print", "reduce print"}


@pytest.fixture
def folder(tmp_path):
    write_json(tmp_path / "data.json", rows(2))
    job = {"data": {"path": "data.json"}, "student": "fake", "pipeline": [{"measure": ["noisy"]}]}
    write_json(tmp_path / "rt.yaml", job | {"scoring": {"preset": "selective-rt"}})
    (tmp_path / "noisy.py").write_text(NOISY)
    return tmp_path


def noises(text: str) -> set[str]:
    return {line.removeprefix("noise ") for line in text.splitlines() if line.startswith("noise ")}


def test_a_plugin_that_prints_does_not_dirty_the_events(folder):
    """Python, C and child processes, when it is imported, made and used: every line of standard output is an event."""
    done = rt("-p", "tests.helpers", "-p", "noisy", "run", "rt.yaml", "--reporter", "jsonl", cwd=folder)
    assert done.code == 0, done
    events = [json.loads(line)["event"] for line in done.out.splitlines()]
    assert (events[0], events[-1]) == ("preparing", "run_finished") and "run_started" in events
    assert noises(done.err) == HEARD


@pytest.mark.parametrize(
    "arguments",
    [
        ("plugins", "show", "noisy"),
        ("run", "rt.yaml", "--dry-run"),
        ("doctor", "rt.yaml"),
        ("score", "data.json", "--student", "fake", "--metric", "noisy", "--out", "s.jsonl"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_command_mixes_it_into_what_it_says(arguments, folder, monkeypatch, capfd):
    """While plugins are imported and their parts are made."""
    monkeypatch.chdir(folder)
    (folder / "noisy.py").write_text(PRINTING)
    done = Cli(monkeypatch, capfd)("-p", "noisy", *arguments)
    assert (done.code, noises(done.out)) == (0, set()), done
    assert noises(done.err) >= {"import", "register print"}


def test_a_command_of_a_plugin_keeps_its_own_output(folder):
    """Text printed on import goes to standard error, and the text of the command itself to standard output."""
    code = "import click\nprint('noise import')\n\n@click.command()\ndef hello():\n    print('hello')\n"
    install(folder / "site", "rt-hello", {"hello": code}, {"hello": "hello:hello"}, group="rt_framework.commands")
    done = rt("hello", cwd=folder, path=[folder / "site"])
    assert (done.code, done.out, done.err) == (0, "hello\n", "noise import\n")


def test_a_reader_that_leaves_stops_no_run(folder):
    """``rt run --reporter jsonl | head -1``: the reporter is left out, the run goes on."""
    command = [sys.executable, "-c", "from rt_framework.cli import main; main()", "-p", "tests.helpers", "-p", "noisy"]
    env = os.environ | {"PYTHONPATH": str(REPO), "RT_LOAD_PLUGINS": ""}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*command, "run", "rt.yaml", "--reporter", "jsonl"],
        cwd=folder, env=env, stdout=writing, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 0, done.stderr
    assert "reporter JsonlReporter failed and is left out: BrokenPipeError" in done.stderr
    assert (folder / "runs/rt/manifest.json").exists()


def test_it_may_be_asked_for_inside_itself(capsys):
    """The inner one changes nothing, and leaves nothing behind."""
    with others_to_stderr():
        with others_to_stderr():
            print("a")
        print("b", file=own())
        print("c")
    print("d", file=own())
    assert capsys.readouterr() == ("b\nd\n", "a\nc\n")
