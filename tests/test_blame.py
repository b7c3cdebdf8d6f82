"""Exceptions of plugins are reported with file and line of the plugin, for every kind and in every process."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from rt_framework.errors import described, place_kept
from tests.helpers import PLUGIN, Cli, install, json_lines, rows, rt, write_json

FAULTY = """
import json
from types import MappingProxyType

import pluggy
from attrs import field, frozen
from rt_framework import Range, Request, Sampling, Turn, hookimpl
from rt_framework.testing import FakeStudent


def fail():
    raise LookupError("lost")  # FAIL


class Metric:
    direction, valid = "higher", Range()
    def __init__(self, where="reduce"):
        self._where = where
    def spans(self, pair, frame):
        return {"y": frame.response_alone(pair)}
    def reduce(self, losses):
        fail()

class Spans(Metric):
    def spans(self, pair, frame):
        fail()

class Fitted:
    direction, valid = "higher", Range()
    def spans(self, pair, frame):
        return {"y": frame.response_alone(pair)}
    def fit(self, losses):
        fail()

class Chooser:
    needs = ("ifd",)
    def choose(self, candidates):
        fail()

class Picker:
    needs = ()
    def select(self, rows):
        fail()

class Stage:
    needs, reflections = (), MappingProxyType({})
    def __init__(self, make):
        pass
    async def run(self, sample, ctx):
        fail()

class Barrier(Stage):
    run = None
    async def run_all(self, samples, ctx):
        fail()

class Reflection:
    rewrites = ("response",)
    def render(self, pair, index, structured):
        return Request("faulty", pair.hash, index, (Turn("user", "?"),), Sampling())
    def parse(self, pair, request, reply):
        fail()

class Mute(Reflection):
    def render(self, pair, index, structured):
        fail()

class Teacher:
    identity, structured = "faulty", False
    async def complete(self, request):
        fail()

class Student(FakeStudent):
    fingerprint = "faulty"
    def score(self, batch):
        fail()

class Illiterate(FakeStudent):
    fingerprint = "illiterate"
    def encode(self, spans):
        fail()

class Format:
    suffixes = (".faulty",)
    def detect(self, path):
        return path.suffix == ".faulty"
    def read(self, path):
        yield {"instruction": "a", "output": "b"}
        fail()
    def write(self, path, rows):
        fail()

class Reporter:
    @hookimpl
    def rt_run_started(self, event):
        fail()

class Maker:
    def __init__(self):
        fail()

class Template:
    reverse = header = None
    def prompt(self, pair):
        fail()

OFFERS = {
    "metrics": {"faulty": "Metric", "spans": "Spans", "fitted": "Fitted"},
    "selectors": {"chooser": "Chooser", "picker": "Picker"},
    "reflections": {"faulty": "Reflection", "mute": "Mute"},
    "teachers": {"faulty": "Teacher", "maker": "Maker"},
    "students": {"faulty": "Student", "illiterate": "Illiterate"},
    "formats": {"faulty": "Format"},
    "reporters": {"faulty": "Reporter"},
    "stages": {"faulty": "Stage", "barrier": "Barrier"},
    "templates": {"faulty": "Template"},
}

def hook(kind):
    def offer(register):
        for name, target in OFFERS[kind].items():
            register(name, f"faulty:{target}")
    offer.__name__ = f"rt_register_{kind}"
    return hookimpl(offer)

for kind in OFFERS:
    globals()[f"rt_register_{kind}"] = hook(kind)
"""
LINE = FAULTY.splitlines().index('    raise LookupError("lost")  # FAIL') + 1
WHAT = f"LookupError: lost (at faulty.py:{LINE})"


@pytest.fixture
def cli(tmp_path, monkeypatch, capfd):
    """The command line, in a folder with the faulty plugin, six rows and a config."""
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faulty.py").write_text(FAULTY)
    (tmp_path / "data.faulty").write_text("")
    write_json(tmp_path / "data.json", rows(6))
    parts = {"data": {"path": "data.json"}, "teacher": "scripted", "student": "fake"}
    write_json(
        tmp_path / "rt.yaml", {**parts, "scoring": {"preset": "selective-rt"}, "pipeline": [{"measure": ["ifd"]}]}
    )
    return lambda *arguments: Cli(monkeypatch, capfd)("-p", "./faulty.py", *arguments)


def score(*arguments: str) -> tuple[str, ...]:
    """``rt score`` with the faithful student, unless another is named."""
    student = () if "--student" in arguments else ("--student", "fake")
    return ("score", "data.json", "--preset", "selective-rt", *student, *arguments, "--out", "s.jsonl")


def job(pipeline: str, *changes: str) -> tuple[str, ...]:
    """``rt run`` with another pipeline and other keys."""
    return ("run", "rt.yaml", *(word for key in (f"pipeline={pipeline}", *changes) for word in ("--set", key)))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (score("--metric", "faulty"), "metric 'faulty' failed in reduce: "),
        (score("--metric", "spans"), "metric 'spans' failed in spans: "),
        (score("--metric", "fitted"), "metric 'fitted' cannot be fitted: "),
        (score("--student", "faulty"), "the student cannot score: "),
        (score("--student", "illiterate"), "the student cannot encode: "),
        (score("--template", "faulty"), "metric 'ifd' failed in spans: "),
        (job("[barrier]"), "stage '1. barrier' failed: "),
        (job("[{select: picker}]"), "stage '1. select picker' failed: "),
        (job("[{reflect: mute}]"), "reflection 'mute' cannot ask about a plain pair: "),
        (job("[{measure: [ifd]}]", "output.format=faulty"), "format 'faulty' cannot write the data: "),
        (job("[{measure: [ifd]}]", "data.path=data.faulty", "output.format=json"), "data.faulty: cannot be read: "),
        (job("[{reflect: response}]", "teacher=maker"), "teacher 'maker' of plugin 'faulty' failed to start: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_that_a_plugin_stops_names_its_line(cli, command, message):
    """The message says what failed, and ends with the line that raised it."""
    error = cli(*command).error()
    assert error.endswith(f"{message}{WHAT}"), error


@pytest.mark.parametrize(
    ("pipeline", "changes"),
    [
        ("[faulty]", ()),
        ("[{reflect: response}, {choose: chooser}]", ()),
        ("[{reflect: faulty}]", ()),
        ("[{measure: [ifd]}]", ("student=faulty",)),
    ],
    ids=["stage", "selector", "reflection", "student"],
)
def test_a_sample_that_a_plugin_breaks_on_has_its_line(cli, tmp_path, pipeline, changes):
    """It stands in the side file, with each sample."""
    assert cli(*job(pipeline, *changes)).code in (0, 1)
    lines = json_lines(tmp_path / "runs/rt/scores.jsonl")
    assert {(line["outcome"], line["reason"]) for line in lines} == {("failed", WHAT)}


def test_a_teachers_failure_has_its_line(cli, tmp_path):
    """The sample goes on with its original; the failure is noted with the line."""
    assert cli(*job("[{reflect: response}]", "teacher=faulty")).code in (0, 1)
    failures = [
        failure["reason"] for line in json_lines(tmp_path / "runs/rt/scores.jsonl") for failure in line["failures"]
    ]
    assert failures == [WHAT] * 6


def test_a_reporter_that_is_left_out_has_its_line(cli, caplog):
    """In the warning."""
    assert cli("run", "rt.yaml", "--reporter", "faulty").code == 0
    assert f"reporter Reporter failed and is left out: {WHAT}" in caplog.messages


def test_a_selector_that_stops_rt_select_is_named(cli):
    """In one line, and nothing is written."""
    assert cli(*score("--metric", "ifd")).code == 0
    error = cli("select", "data.json", "--scores", "s.jsonl", "--by", "picker", "--out", "o.json").error()
    assert error == f"selector 'picker' failed: {WHAT}"


def test_a_registration_that_fails_has_its_line(tmp_path, monkeypatch, capfd):
    """The line of the hook, also if the framework refused the part that it offers."""
    monkeypatch.chdir(tmp_path)
    code = "from rt_framework import hookimpl\n@hookimpl\ndef rt_register_metrics(register):\n    "
    for name, body, what in (
        ("raising", "raise LookupError('lost')", "LookupError: lost"),
        ("wrong", "register('x', 'no target')", "PluginError: target 'no target' of 'x' is not of the form"),
    ):
        (tmp_path / f"{name}.py").write_text(code + body)
        error = Cli(monkeypatch, capfd)("-p", f"./{name}.py", "plugins", "show", "x").error()
        assert error.startswith(f"plugin '{name}' failed in register: {what}")
        assert error.endswith(f"(at {name}.py:4)")


def test_a_student_in_another_process_names_its_line_too(cli, tmp_path):
    """A traceback does not come back from there; the line does."""
    done = rt(
        "-p", PLUGIN, "-p", "./faulty.py", *score("--student", "faulty", "--executor", "processes:1"), cwd=tmp_path
    )
    assert done.error() == f"the student cannot score: {WHAT}"


# --- which line -------------------------------------------------------------------------------


def raised(work, *arguments):
    """The exception of a function."""
    with pytest.raises(Exception) as caught:
        work(*arguments)
    return caught.value


def test_the_line_of_a_package_is_told_below_the_installed_packages(tmp_path, monkeypatch):
    """If another installed library raised, the line is that of the plugin that called it."""
    site = tmp_path / "lib" / "site-packages"
    install(site, "far-library", {"far_library": "def divide(a, b):\n    return a / b\n"})
    install(site, "rt-near", {"rt_near": "import far_library\ndef reduce():\n    return far_library.divide(1, 0)\n"})
    monkeypatch.syspath_prepend(site)
    import rt_near

    # As core calls it: what is before the plugin in the traceback is of the framework alone.
    error = raised(rt_near.reduce)
    error.__traceback__ = error.__traceback__.tb_next
    assert described(error) == "ZeroDivisionError: division by zero (at rt_near.py:3)"


def test_a_file_of_the_user_is_told_as_the_user_would_write_it(tmp_path, monkeypatch):
    """Below the current directory without it, elsewhere whole."""
    (tmp_path / "mine.py").write_text("def reduce():\n    return 1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    import mine

    error = raised(mine.reduce)
    assert described(error).endswith(f"(at {tmp_path}/mine.py:2)")
    monkeypatch.chdir(tmp_path)
    assert described(error).endswith("(at mine.py:2)")


def test_an_error_of_the_framework_has_no_line():
    """It is told by type and message alone; without a message by its type."""
    from rt_framework.model import Sample

    error = raised(Sample("a", 0, ()).version, "missing")
    error.__traceback__ = error.__traceback__.tb_next
    assert described(error) == "KeyError: 'missing'"
    assert described(RuntimeError()) == "RuntimeError"


def test_the_line_is_kept_across_processes_and_threads():
    """Attributes of an exception are sent with it."""

    def work():
        with place_kept():
            raise LookupError("lost")

    with ThreadPoolExecutor(1) as pool:
        error = raised(pool.submit(work).result)
    sent = pickle.loads(pickle.dumps(error))
    assert sent.__traceback__ is None
    assert described(sent) == described(error)
    assert "test_blame.py:" in described(sent)
