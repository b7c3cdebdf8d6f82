"""``rt --debug``: the traceback of an error that is one line otherwise."""

from __future__ import annotations

import pytest

from rt_framework.errors import RtError
from tests.helpers import CONFIG, Cli, rows, write_json

ODD = """
from rt_framework import Range, hookimpl

class Odd:
    direction, valid = "higher", Range()

    def spans(self, pair, frame):
        return pair.missing

    def reduce(self, losses):
        return 0.0

@hookimpl
def rt_register_metrics(register):
    register("odd", "odd_metric:Odd")
"""


@pytest.fixture
def cli(tmp_path, monkeypatch, capfd):
    """The command line, in a folder with six rows and a config."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    write_json(tmp_path / "data.json", rows(6))
    (tmp_path / "rt.yaml").write_text(CONFIG)
    return Cli(monkeypatch, capfd)


def lines(done) -> list[str]:
    """The lines of standard error without the traceback's indented ones."""
    return [line for line in done.err.splitlines() if line and not line.startswith(" ")]


def test_a_traceback_comes_before_the_line(cli):
    """The line, the exit code and standard output are those of the command without the option."""
    plain = cli("run", "rt.yaml", "--set", "student=none")
    debugged = cli("--debug", "run", "rt.yaml", "--set", "student=none")
    assert (debugged.code, debugged.out) == (plain.code, plain.out) == (2, "")
    assert plain.err.count("\n") == 1
    assert debugged.err.endswith(plain.err)
    first, *_, raised, last = lines(debugged)
    assert first == "Traceback (most recent call last):"
    assert raised.startswith("rt_framework.errors.PluginError: unknown student 'none'")
    assert last == plain.err.rstrip()
    assert "host.py" in debugged.err


def test_the_cause_is_in_the_traceback(cli, tmp_path):
    """It shows the line of the plugin, besides the place where core noticed the error."""
    (tmp_path / "odd_metric.py").write_text(ODD)
    score = ("score", "data.json", "--student", "fake", "--metric", "odd", "--preset", "selective-rt", "--out", "s")
    done = cli("--debug", "-p", "./odd_metric.py", *score)
    assert "return pair.missing" in done.err
    assert lines(done)[-1].startswith("Error: metric 'odd' failed in spans: AttributeError")


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["rnu"], ["run", "rt.yaml", "--no-such"], ["export", "x", "--out", "y", "--pack", "trl", "--hub-folder"]],
)
def test_a_wrong_call_has_one_too(cli, arguments):
    """A call that Click refuses is an error like any other."""
    plain, debugged = cli(*arguments), cli("--debug", *arguments)
    assert debugged.code == plain.code == 2
    assert debugged.err.startswith("Traceback") and debugged.err.endswith(plain.err)


def test_a_fault_of_ours_is_shown_once(cli, monkeypatch):
    """It has its traceback without the option."""
    monkeypatch.setattr("rt_framework.config.read_config", lambda *_: 1 / 0)
    plain, debugged = cli("run", "rt.yaml"), cli("--debug", "run", "rt.yaml")
    assert debugged.code == plain.code == 70
    assert debugged.err.count("Traceback") == plain.err.count("Traceback") == 1


def test_no_secret_is_in_the_traceback(cli, monkeypatch):
    """Nor a terminal escape."""
    monkeypatch.setenv("PROVIDER_API_KEY", "sesame-open-9137")

    def refuse(*_):
        raise RtError("no entry with sesame-open-9137\x1b[31m") from ValueError("sesame-open-9137")

    monkeypatch.setattr("rt_framework.config.read_config", refuse)
    done = cli("--debug", "run", "rt.yaml")
    assert done.err.count("***") >= 3
    assert "sesame" not in done.err and "\x1b" not in done.err


def test_success_and_help_are_as_they_are(cli):
    """Nothing is printed to standard error."""
    for arguments in (["--help"], ["run", "--help"], ["--version"], ["plugins", "list"]):
        done = cli("--debug", *arguments)
        assert (done.code, done.err) == (0, "")
