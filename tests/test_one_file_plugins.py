"""A plugin that is one file: ``rt -p ./my_metric.py``."""

from __future__ import annotations

import pytest

from tests.helpers import PLUGIN, REPO, Cli, json_lines, rows, rt, the_error, write_json

STUDENT = """
from rt_framework import hookimpl
from rt_framework.testing import FakeStudent

class MyStudent(FakeStudent):
    fingerprint = "mine"

@hookimpl
def rt_register_students(register):
    register("mine", "my_student:MyStudent")
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with the metric of the README, away from where the command is called."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    text = (REPO / "docs/examples/ten_lines.py").read_text()
    (tmp_path / "plugins/my_gain.py").write_text(text.replace("ten_lines", "my_gain"))
    write_json(tmp_path / "work/data.json", rows(4))
    return tmp_path


def test_a_file_is_used_by_its_path(home, monkeypatch, capfd):
    """From another folder, with what it registers under the file's own name."""
    arguments = ("score", "data.json", "--student", "fake", "--metric", "gain", "--out", "s.jsonl")
    done = Cli(monkeypatch, capfd)("-p", "../plugins/my_gain.py", *arguments)
    assert done.code == 0, done
    for line in json_lines(home / "work/s.jsonl"):
        mean = {name: loss["nll"] / loss["tokens"] for name, loss in line["losses"].items()}
        assert line["metrics"]["gain"] == pytest.approx(mean["y"] - mean["y|x"])


def test_other_files_of_its_folder_hide_no_module(home):
    """A file that lies beside it may be called as a module that is installed."""
    (home / "plugins/rich.py").write_text("raise RuntimeError('not this one')")
    done = rt("-p", "../plugins/my_gain.py", "plugins", "show", "gain", cwd=home / "work")
    assert done.code == 0, done
    assert "metric gain: nats a token" in done.words


def test_a_student_of_a_file_works_in_other_processes(home):
    """Worker processes find the file where this one did."""
    (home / "plugins/my_student.py").write_text(STUDENT)
    arguments = ("--student", "mine", "--metric", "ifd", "--out", "s.jsonl", "--executor", "processes:2")
    done = rt("-p", PLUGIN, "-p", "../plugins/my_student.py", "score", "data.json", *arguments, cwd=home / "work")
    assert done.code == 0, done
    assert len(json_lines(home / "work/s.jsonl")) == 4


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("no_such.py", None, "-p ../plugins/no_such.py: no such file"),
        ("my-gain.py", "", "-p ../plugins/my-gain.py: 'my-gain.py' is not a valid module name; use"),
        ("json.py", "", "-p ../plugins/json.py: 'json' is already the name of another module; rename the file"),
        ("__main__.py", "", "-p ../plugins/__main__.py: '__main__' is already the name of another module; rename the"),
        (
            "gain.txt",
            "",
            "-p ../plugins/gain.txt: 'gain.txt' is not a valid module name; use letters, digits, underscore",
        ),
        ("", None, "-p ../plugins/: no such file"),
        ("broken.py", "x = 1\n\nx.y\n", "plugin 'broken' failed in import: AttributeError: 'int' object has no att"),
    ],
)
def test_a_file_that_cannot_be_used(home, monkeypatch, capfd, file, text, message):
    """One line that says what to do; where its own code failed, with the line."""
    if text is not None:
        (home / "plugins" / file).write_text(text)
    error = the_error(Cli(monkeypatch, capfd)("-p", f"../plugins/{file}", "plugins", "show", "gain"))
    assert error.startswith(message)
    assert file != "broken.py" or error.endswith("plugins/broken.py:3)")
